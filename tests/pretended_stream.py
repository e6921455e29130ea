"""One short stream per policy, on the CPU and on pretended GPUs, with what it cost there.

Used by the tests and by `scripts/count_waits.py`, which writes the table in docs/benchmarks.md.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import torch
from pretended_device import Traffic, pretended_devices, spread
from tiny import ask, contents, open_stream, random_frames

from inference import AbstractHermes

KV_SIZE = 16
"""Four frames (LLaVA) or pairs of frames (Qwen2.5-VL)."""
KV_SIZES = {"qwen3": 92}
"""Four pairs of frames with their time stamps."""
CHUNK_FRAMES = {"llava": 3, "qwen": 6, "qwen3": 6}
NUM_CHUNKS = 2
"""Before the first question; from the second on something leaves."""
MAX_NEW_TOKENS = 3


class Cost(NamedTuple):
    """Of one chunk (encode and compress) or one question, on pretended devices."""

    waits: int
    """The host stood still; reading a clock on a GPU is left out (`clock_waits`). Watching reads
    none."""
    clock_waits: int
    """`synchronize` of the stopwatches."""
    copies: int
    """Between host and device, either way; host indices into device tensors among them."""
    peer_copies: int
    """Between devices."""
    operators: int
    """Kernels launched, one per operator."""

    @classmethod
    def of(cls, traffic: Traffic) -> Cost:
        """What has happened since the last `clear`."""
        clock = sum(count for (name, _), count in traffic.waits.items() if name == "synchronize")
        return cls(
            traffic.num_waits() - clock,
            clock,
            traffic.num_copies("h2d", "d2h", "index"),
            traffic.num_copies("d2d"),
            sum(traffic.operators.values()),
        )


class Run(NamedTuple):
    """What a stream showed."""

    answers: list[str]
    held: dict[str, torch.Tensor]
    costs: dict[str, Cost]
    """Of the first `question` and of the `chunk` after it; empty on the CPU."""
    uploads: dict[str, int]
    """For each of these the copies from host to device, host indices among them."""
    places: dict[str, set[tuple[str, str]]]
    """For each of these the (kind, file:line) of waits and copies."""


def run_stream(engine: AbstractHermes, traffic: Traffic | None = None) -> Run:
    """Two chunks, a question, another chunk, a question in the dialogue."""
    costs: dict[str, Cost] = {}
    uploads: dict[str, int] = {}
    places: dict[str, set[tuple[str, str]]] = {}

    def measured(name: str) -> None:
        if traffic:
            costs[name] = Cost.of(traffic)
            uploads[name] = traffic.num_copies("h2d", "index")
            places[name] = {*traffic.waits, *traffic.copies}
            traffic.clear()

    for step in range(NUM_CHUNKS + 1):
        if traffic:
            traffic.clear()
        if step == NUM_CHUNKS:
            first = ask(engine, max_new_tokens=MAX_NEW_TOKENS)
            measured("question")
        engine.encode_video_chunk(random_frames(CHUNK_FRAMES[engine.family], seed=step))
        engine.predict_and_compress()
        if step == NUM_CHUNKS:
            measured("chunk")
    second = ask(engine, "!", max_new_tokens=MAX_NEW_TOKENS)
    engine.memory.check_integrity(engine.max_positions)
    return Run([first, second], contents(engine), costs, uploads, places)


def kv_size_of(base: AbstractHermes) -> int:
    """The budget of these streams."""
    return KV_SIZES.get(base.family, KV_SIZE)


@contextmanager
def stream_on_pretended(
    base: AbstractHermes, num_devices: int, **options: Any
) -> Iterator[tuple[AbstractHermes, Traffic]]:
    """A fresh stream on a copy of the weights of `base`, spread over pretended devices."""
    config = open_stream(base, **{"kv_size": kv_size_of(base), **options}).config
    model = _spread_copy(base.model, num_devices)
    with pretended_devices(num_devices) as traffic:
        yield type(base)(model, base.processor, config, sample_fps=base.sample_fps), traffic


@cache
def _spread_copy(model: Any, num_devices: int) -> Any:
    """Pretended weights outlive the pretence that made them and serve every later one."""
    copied = copy.deepcopy(model)
    with pretended_devices(num_devices):
        spread(copied, num_devices)
    return copied
