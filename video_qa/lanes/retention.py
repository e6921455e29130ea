"""Which moments a memory still holds: tokens per layer and step, over stream time.

Shapes: l layers, f steps so far. A step is what shares its tokens: one sampled frame, or the frames
of one temporal patch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

SUMMARY_FRAME = -2
"""Frame number of summary tokens, which stand for many frames: `SUMMARY` of `hermes.store`."""
TEXT_FRAME = -3
"""Stands in tables for the text of all frames, such as time stamps."""
NO_PATCH = -1
"""Patch number of such text (`hermes.store.provenance.NO_PATCH`)."""


@dataclass(frozen=True)
class Snapshot:
    """What is held at one moment.

    Attributes:
        seconds: time of the newest frame in the stream.
        counts: (l, f) int32 picture tokens of each step; for policies that keep frames and read
            them afresh, those that a question would be shown.
        summaries: (l,) int32 summary tokens.
        num_host_frames: frames of an archive in host memory, from which a question may retrieve.
        texts: (l,) int32 text tokens of frames, such as time stamps; None for none.
    """

    seconds: float
    counts: np.ndarray
    summaries: np.ndarray
    num_host_frames: int = 0
    texts: np.ndarray | None = None


class RetentionLog:
    """At most `limit` snapshots of a stream, evenly spread whatever its length, and the newest.

    When it is full, every second snapshot is dropped and from then on only every second one kept.
    """

    def __init__(self, limit: int = 48) -> None:
        if limit < 2:
            raise ValueError(f"a log needs room for at least 2 snapshots, got {limit}")
        self._limit, self._stride, self._num_seen = limit, 1, 0
        self._spread: list[Snapshot] = []
        self._newest: Snapshot | None = None
        self._num_frames = 0
        self.step_frames: list[int] = []
        """Number of the first sampled frame of each step."""
        self.step_seconds: list[float] = []
        """Its time in the stream."""
        self.tokens_per_step = 1

    def observe(self, engine: Any, chunk: Any, times_seconds: Sequence[float]) -> None:
        """Record `engine` after it watched and compressed the frames of a `VisualChunk`."""
        leading = range(0, len(times_seconds), chunk.frames_per_step)
        self.step_frames += [self._num_frames + index for index in leading]
        self.step_seconds += [float(times_seconds[index]) for index in leading]
        self.tokens_per_step = chunk.tokens_per_step
        self._num_frames += len(times_seconds)
        self._keep(take_snapshot(engine, float(times_seconds[-1]), self.step_frames))

    def _keep(self, snapshot: Snapshot) -> None:
        self._newest = snapshot
        if self._num_seen % self._stride == 0:
            self._spread.append(snapshot)
        if len(self._spread) > self._limit:
            self._spread = self._spread[::2]
            self._stride *= 2
        self._num_seen += 1

    @property
    def snapshots(self) -> list[Snapshot]:
        """In the order of time; the last one is the newest state."""
        has_newest = self._newest is None or self._spread[-1] is self._newest
        return self._spread if has_newest else [*self._spread, self._newest]  # type: ignore[list-item]


def take_snapshot(engine: Any, seconds: float, step_frames: Sequence[int]) -> Snapshot:
    """Look into an engine (`inference.AbstractHermes`); frame numbers start the steps."""
    host_frames = len(getattr(getattr(engine.policy, "store", None), "frames", ()))
    counts, summaries = count_tokens(engine.kept.frames_by_layer(), step_frames)
    texts = engine.kept.text_by_layer()
    return Snapshot(seconds, counts, summaries, host_frames, texts if texts.any() else None)


def count_tokens(
    rows: Sequence[np.ndarray], step_frames: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Frame numbers of each layer's tokens -> (l, f) counts per step, (l,) summary tokens."""
    length = step_frames[-1] + 1 if step_frames else 0
    counts = [np.bincount(row[row >= 0], minlength=length)[list(step_frames)] for row in rows]
    summaries = [int((row == SUMMARY_FRAME).sum()) for row in rows]
    return np.array(counts, np.int32), np.array(summaries, np.int32)


def binned_mean(values: np.ndarray, num_bins: int) -> np.ndarray:
    """Mean of the last axis over at most `num_bins` runs of (almost) equal length, in order."""
    length = values.shape[-1]
    starts = bin_starts(length, num_bins)
    sizes = np.diff([*starts, length])
    return np.add.reduceat(values, starts, axis=-1) / sizes


def bin_starts(length: int, num_bins: int) -> np.ndarray:
    """First index of each of the runs into which `binned_mean` cuts `length` entries."""
    bins = min(length, num_bins)
    return np.arange(bins) * length // max(1, bins)
