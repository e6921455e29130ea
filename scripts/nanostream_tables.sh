#!/usr/bin/env bash
# The tables of docs/comparison.md: streams four and sixteen times longer than hermes-nano was
# trained on. A killed run continues where it stopped.
#     bash scripts/nanostream_tables.sh [RESULTS_ROOT] [NUM_CHUNKS]
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
root=${1:-results} num_chunks=${2:-2}
budgets=128,64,32 # a half, a quarter and an eighth of the trained length, 256 tokens

policies=two_speed,two_speed_recall,hermes,stratified,infinipot_v,stream_mem,live_vlm
policies+=,rekv,streaming_llm,recent,uniform,random,last_frames,uniform_frames,uniform_recent
policies+=,keyrec,dscache,shallow_stream
# hermes: both profiles, lazy and eager; none: beyond the model's range
variants=hermes,hermes:reindex=eager,hermes:profile=paper,hermes:profile=paper:reindex=eager
variants+=,recent,uniform,random,none:position_limit=8192

# how two_speed trades the recent past for the far past, and what it was planned to be
trade=two_speed:recent_share=0.125,two_speed,two_speed:recent_share=0.5,two_speed:recent_share=0.75
trade+=,two_speed:recent_share=0.9,hermes,recent
trade+=,two_speed:attention_weight=1:keyframe_share=0:recent_share=0.5:floor_share=0.5

stream() { # FOLDER NUM_STREAMS MINUTES QUESTIONS_PER_TASK
    "$python" -m video_qa.nanostream --out "data/$1" --split test --num_streams "$2" \
        --min_minutes "$3" --max_minutes "$3" --questions_per_task "$4" --fps 2 --edition 1
}

compare() { # FOLDER POLICIES BUDGETS OUT
    "$python" video_qa/compare.py --model nano --dataset nanostream --sample_fps 1 \
        --anno_path "data/$1/nanostream_test.json" --results_root "$root/$1" --policies "$2" \
        --kv_sizes "$3" --num_chunks "$num_chunks" --device cpu --out "$root/$1/$4" ||
        [ $? -eq 1 ] # some questions have an error; the report names them
}

stream nanostream_4x 20 4.26667 5
stream nanostream_16x 6 17.06667 8
for folder in nanostream_4x nanostream_16x; do
    compare "$folder" "$variants" 64 variants
    compare "$folder" "$policies" "$budgets" policies
    compare "$folder" "$trade" 64 trade
done
