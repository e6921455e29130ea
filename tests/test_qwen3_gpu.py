"""Qwen3-VL on a GPU remembers what it remembers on the CPU; its true size is measured by
`scripts/bench_efficiency.py`."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from qwen3_reference import FPS, frames_of
from test_gpu_streams import LEAST_SHARED, assert_alike, true_float32  # noqa: F401
from tiny import ask, assert_same, contents, open_stream
from torch import Tensor
from torch.overrides import TorchFunctionMode

from hermes.policies import POLICIES
from inference import load_model


class OtherEquals(TorchFunctionMode):
    """The best of a row as another device would pick them: of equals, any."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(1)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not Tensor.topk:
            return func(*args, **(kwargs or {}))
        scores, *rest = args
        order = torch.randperm(scores.shape[-1], generator=self.generator).to(scores.device)
        values, found = func(scores[..., order], *rest, **(kwargs or {}))
        return torch.return_types.topk((values, order[found]))


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


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_which_of_equals_a_device_takes_does_not_matter(load, policy):
    """Here text is among the tokens, which many rankings put behind all others."""
    found = []
    for mode in (nullcontext(), OtherEquals()):
        with mode:
            stream = _stream(load("qwen3"), policy)
            found.append((contents(stream), [ask(stream, question) for question in "?!"]))
    (held, answers), (also_held, same_answers) = found
    assert_same(held, also_held)
    assert answers == same_answers
