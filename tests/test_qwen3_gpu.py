"""Qwen3-VL on a GPU remembers what it remembers on the CPU; its true size is measured elsewhere
(scripts/bench_random.py)."""

from __future__ import annotations

import json

import pytest
import torch
from qwen3_reference import FPS, frames_of
from test_gpu_streams import LEAST_SHARED, assert_alike, true_float32  # noqa: F401
from tiny import ask, assert_same, contents, open_stream

from hermes.policies import POLICIES
from inference import load_model
from scripts.bench_random import main as bench_random


def _stream(base, policy: str):
    engine = open_stream(base, policy=policy, kv_size=120, sample_fps=FPS)
    for step in range(5):
        engine.encode_video_chunk(frames_of(6, seed=step))
        engine.predict_and_compress()
    return engine


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", sorted(LEAST_SHARED))
@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_a_stream_on_the_gpu_is_the_stream_on_the_cpu(checkpoint, policy, dtype):
    folder = checkpoint("qwen3")
    reference, engine = (
        _stream(load_model(folder, kv_size=120, device=device, dtype=dtype)[0], policy)
        for device in ("cpu", "cuda")
    )
    before = contents(engine)
    assert_alike(before, contents(reference), policy, dtype)
    answers = [ask(stream) for stream in (reference, engine)]
    assert_same(before, contents(engine))
    engine.memory.check_integrity(engine.max_positions)
    if dtype == "float32":
        assert answers[0] == answers[1]


def test_the_measurement_of_the_true_size_runs(capsys):
    """Here on a tiny model, so that nothing but the size is new on the GPU."""
    command = ["--size", "tiny", "--device", "cpu", "--dtype", "float32", "--kv_size", "300"]
    assert bench_random([*command, "--num_frames", "48", "--height", "64", "--width", "96"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tokens_per_frame"] > 3 and found["chunk_seconds_median"] > 0
    assert found["first_token_seconds"] > 0 and found["memory_bytes"] > 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(capsys):
    assert bench_random([]) == 2
    assert "torch sees no CUDA device" in capsys.readouterr().err
