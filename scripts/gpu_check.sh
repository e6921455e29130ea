#!/usr/bin/env bash
# What can only be seen on a GPU, in one go, within ten minutes: bash scripts/gpu_check.sh --help
# Uses the Python that is there (PYTHON=...), its torch included, and needs no network.
set -euo pipefail
cd "$(dirname "$0")/.."
exec "${PYTHON:-python3}" scripts/gpu_check.py "$@"
