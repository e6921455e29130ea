"""Helpers for tests on tiny random models: frames, streams, questions, and what a memory holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from hermes import configure
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
    """Copies of everything a stream remembers, per layer."""
    memory = engine.memory
    used = slice(0, memory.num_tokens)
    held = {
        "keys": torch.stack([layer.keys[:, used].cpu() for layer in memory.layers]),
        "values": torch.stack([layer.values[:, used].cpu() for layer in memory.layers]),
        "rotated": torch.stack([keys[0].cpu() for keys, _ in engine.kv_cache]),
        "positions": memory.positions[..., used].cpu().clone(),
        "next_position": memory.next_position.cpu().clone(),
    }
    for name in memory.provenance.NAMES:
        held[name] = getattr(memory.provenance, name)[:, used].cpu().clone()
    return held


def assert_same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> None:
    """Bit for bit."""
    assert left.keys() == right.keys()
    different = [name for name in left if not torch.equal(left[name], right[name])]
    assert not different, f"{', '.join(different)} differ"


def largest_error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Largest absolute difference."""
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    return float((ours.double().cpu() - theirs.double().cpu()).abs().max())
