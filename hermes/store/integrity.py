"""The contracts of the memory, checked on its real tensors (design section 4)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from hermes.provenance import NO_PATCH, SUMMARY, TEXT

if TYPE_CHECKING:
    from hermes.memory import StreamMemory


class MemoryIntegrityError(RuntimeError):
    """A contract of the memory does not hold; the message names it."""


def check_integrity(memory: StreamMemory, max_positions: int | None = None) -> None:
    """Raise `MemoryIntegrityError` unless every contract holds.

    Args:
        max_positions: the model's position limit; positions must stay below it.
    """
    for layer in range(memory.num_layers):
        _check_finite(memory, layer)
        _check_prefix(memory, layer)
        _check_origin(memory, layer)
        _check_time_order(memory, layer)
        _check_positions(memory, layer, max_positions)


def _fail(layer: int, what: str) -> None:
    raise MemoryIntegrityError(f"layer {layer}: {what}")


def _check_finite(memory: StreamMemory, layer: int) -> None:
    stack, index = memory.place_of(layer)
    used = slice(0, stack.num_tokens)
    for name in ("keys", "values"):
        if not torch.isfinite(getattr(stack, name)[index, :, used]).all():
            _fail(layer, f"{name} hold values that are not finite")
    if stack.num_rotated[index] > stack.num_tokens:
        _fail(layer, f"{stack.num_rotated[index]} rotated keys for {stack.num_tokens} tokens")


def _check_prefix(memory: StreamMemory, layer: int) -> None:
    prefix = memory.num_prefix
    if (memory.provenance.frame[layer, :prefix] != TEXT).any():
        _fail(layer, "a visual token stands in the prefix")
    expected = torch.arange(prefix, device=memory.positions.device)
    if (memory.positions[layer, :, :prefix] != expected).any():
        _fail(layer, "the prefix has left its positions")


def _check_origin(memory: StreamMemory, layer: int) -> None:
    origin, stack = memory.provenance, memory.place_of(layer)[0]
    used = slice(0, stack.num_tokens)
    if (origin.frame[layer, stack.visual] == TEXT).any():
        _fail(layer, "text stands among the visual tokens")
    is_text = origin.weights[layer, used] == 0
    patches = torch.where(is_text, origin.patch[layer, used] - NO_PATCH, origin.patch[layer, used])
    if (origin.frame[layer, used] < SUMMARY).any() or (patches < 0).any():
        _fail(layer, "frame or patch numbers are negative")
    if not torch.isfinite(origin.seconds[layer, used]).all():
        _fail(layer, "seconds are not finite")
    weights = origin.weights[layer, used]
    none = is_text & (origin.patch[layer, used] != NO_PATCH)
    if not torch.isfinite(weights).all() or (weights < 0).any() or none.any():
        _fail(layer, "weights are not positive numbers")


def _check_time_order(memory: StreamMemory, layer: int) -> None:
    origin, used = memory.provenance, memory.place_of(layer)[0].visual
    frames, is_text = origin.frame[layer, used], origin.weights[layer, used] == 0
    for kind in (~is_text, is_text):
        times = frames[kind & (frames >= 0)]
        if (times[1:] < times[:-1]).any():
            _fail(layer, "kept tokens are not in time order")


def _check_positions(memory: StreamMemory, layer: int, max_positions: int | None) -> None:
    used = memory.place_of(layer)[0].num_tokens
    largest = memory.positions[layer, :, :used]
    top = largest.max().item() if used else -1
    following = memory.next_position[layer].item()
    if not math.isfinite(following) or not torch.isfinite(largest).all():
        _fail(layer, "positions are not finite")
    if (largest[:, memory.num_prefix :] < memory.num_prefix).any():
        _fail(layer, "a visual token stands before the end of the prefix")
    if following <= top:
        _fail(layer, f"next position {following} does not lie beyond {top}")
    if following > memory.position_bound:
        _fail(layer, f"position bound {memory.position_bound} lies below {following}")
    if max_positions is not None and top >= max_positions:
        _fail(layer, f"position {top} is not below the model's limit {max_positions}")
