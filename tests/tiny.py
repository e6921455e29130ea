"""Helpers for tests on tiny random models: frames, streams, questions, and what a memory holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hermes import StreamMemory, configure
from hermes.store.layer_stack import LayerStack
from hermes.store.provenance import joined
from inference import AbstractHermes

TESTS = Path(__file__).resolve().parent
SIDE = 56
TOLERANCE = 1e-5
"""fp32, absolute; hidden states of the tiny models are of order one."""


def random_frames(num_frames: int, seed: int = 0, side: int = SIDE) -> np.ndarray:
    """(num_frames, side, side, 3) uint8 noise."""
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (num_frames, side, side, 3), dtype=np.uint8)


def open_stream(
    base: AbstractHermes,
    *,
    sample_fps: float = 1,
    data_set: dict[str, Any] | None = None,
    **named: Any,
) -> AbstractHermes:
    """A fresh stream on the weights of `base`; `data_set` and `named` as in `configure`."""
    config = configure(family=base.constants, data_set=data_set, **{"kv_size": 24, **named})
    return type(base)(base.model, base.processor, config, sample_fps=sample_fps)


def ask(engine: AbstractHermes, question: str = "?", max_new_tokens: int = 4) -> str:
    """An open question; 14 prompt tokens for one character."""
    prompt = engine.get_prompt(question)
    return engine.question_answering({"question": question, "prompt": prompt}, max_new_tokens)


def watch(engine: AbstractHermes, frames: np.ndarray, chunk_frames: int = 8) -> None:
    """Watch in chunks, each followed by compression."""
    for start in range(0, len(frames), chunk_frames):
        engine.encode_video_chunk(frames[start : start + chunk_frames])
        engine.predict_and_compress()


def contents(engine: AbstractHermes) -> dict[str, torch.Tensor]:
    """Copies of everything a stream remembers, per layer; zeros where a band holds less."""
    memory = engine.memory
    memory.refresh()
    first = memory.stacks[0]
    states = {
        name + suffix: _held(memory, lambda s, n=name, i=i: s.parts(n)[i].mT).mT.contiguous()
        for name in ("keys", "values", "rotated")
        for i, suffix in enumerate(first.storage.part_names)
    }
    origin = {
        name: _held(memory, lambda stack, name=name: getattr(stack.origin, name))
        for name in memory.provenance.NAMES
    }
    positions = _held(memory, lambda stack: stack.positions)
    return {
        **states,
        "positions": positions,
        "next_position": memory.next_position.cpu().clone(),
        **origin,
    }


def _held(memory: StreamMemory, buffer: Callable[[LayerStack], torch.Tensor]) -> torch.Tensor:
    """Of buffers (l, ..., c) what is in use, (l, ..., n) over all layers."""
    return joined([buffer(stack)[..., : stack.num_tokens].cpu() for stack in memory.stacks]).clone()


def assert_same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> None:
    """Bit for bit."""
    assert left.keys() == right.keys()
    different = [name for name in left if not torch.equal(left[name], right[name])]
    assert not different, f"{', '.join(different)} differ"


def largest_error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Largest absolute difference."""
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    return float((ours.double().cpu() - theirs.double().cpu()).abs().max())
