"""Frames of several streams through the vision tower in one batch.

Shapes: f frames, H and W their size in pixels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from inference.abstract_hermes import AbstractHermes
from inference.vision.visual_chunk import VisualChunk

_Item = TypeVar("_Item")


def grouped(items: Sequence[_Item], key: Callable[[_Item], Hashable]) -> list[list[_Item]]:
    """Items of equal keys, in the order of their first."""
    groups: dict[Hashable, list[_Item]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return list(groups.values())


def see_together(
    streams: Sequence[AbstractHermes], frames: Sequence[Tensor]
) -> list[VisualChunk | None]:
    """`AbstractHermes.see` of each stream's (f, H, W, 3) uint8 frames, one batch for each size.

    Args:
        streams: on the same weights.

    Returns:
        For each stream its chunk; None where no other stream has frames of that size, or where the
        policy keeps the frames as they are.
    """
    seen: list[VisualChunk | None] = [None] * len(streams)
    wanting = [index for index, stream in enumerate(streams) if stream.kept.wants_features]
    for alike in grouped(wanting, lambda index: _kind(streams[index], frames[index])):
        if len(alike) > 1:
            timed = any(streams[index].policy.reprefills for index in alike)
            chunks = _see(streams[alike[0]], [frames[index] for index in alike], timed)
            for index, chunk in zip(alike, chunks, strict=True):
                seen[index] = chunk
    return seen


def _kind(stream: AbstractHermes, frames: Tensor) -> Hashable:
    return frames.shape[1:], frames.device, stream.processor.pixels


def _see(stream: AbstractHermes, frames: Sequence[Tensor], timed: bool) -> list[VisualChunk]:
    """Steps are made whole before they stand side by side, as the tower would alone. Reading the
    clock waits for the device."""
    step = stream.frames_per_step
    whole = [torch.cat((each, each[-1:].expand(-len(each) % step, -1, -1, -1))) for each in frames]
    chunk = (stream.encode_features if timed else stream.see)(torch.cat(whole))
    chunks, first = [], 0
    for each in whole:
        count = len(each) // step
        chunks.append(chunk.steps(first, count))
        first += count
    return chunks
