#!/usr/bin/env bash
# The paper's example: StreamingBench with LLaVA-OneVision 7B at 0.5 frames per second, 6000 visual
# tokens per layer, eight workers. Further arguments are passed on and win over these, e.g.
#   bash scripts/run_infer.sh --devices 0,1 --video_root /mnt/videos
set -euo pipefail
cd "$(dirname "$0")/.."
python=python3
[ -x .venv/bin/python ] && python=.venv/bin/python
exec "$python" video_qa/run_infer.py \
    --model llava_ov_7b \
    --dataset streamingbench \
    --num_chunks 8 \
    --sample_fps 0.5 \
    --kv_size 6000 \
    "$@"
