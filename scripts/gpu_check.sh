#!/usr/bin/env bash
# What can only be seen on a GPU, each part within ten minutes: bash scripts/gpu_check.sh --help
#   --part tests (default)   streams, contracts and answers in three precisions
#   --part bench             speed of models of the real size, random weights, beside the release
# Uses the Python that is there (PYTHON=...), its torch included, and needs no network.
set -euo pipefail
cd "$(dirname "$0")/.."
exec "${PYTHON:-python3}" scripts/gpu_check.py "$@"
