"""The contracts of the memory, checked on its real tensors (design section 4)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from hermes.store.layer_stack import LayerStack
from hermes.store.provenance import NO_PATCH, SUMMARY, TEXT


class MemoryIntegrityError(RuntimeError):
    """A contract of the memory does not hold; the message names it."""


def check_integrity(
    stacks: Sequence[LayerStack], position_bound: float, max_positions: int | None = None
) -> None:
    """Raise `MemoryIntegrityError` unless every contract holds.

    Args:
        position_bound: host number that no position may reach.
        max_positions: the model's position limit; positions must stay below it.
    """
    for stack in stacks:
        for index in range(len(stack)):
            _check_finite(stack, index)
            _check_prefix(stack, index)
            _check_origin(stack, index)
            _check_time_order(stack, index)
            _check_positions(stack, index, position_bound, max_positions)


def _fail(stack: LayerStack, index: int, what: str) -> None:
    raise MemoryIntegrityError(f"layer {stack.layers[index]}: {what}")


def _check_finite(stack: LayerStack, index: int) -> None:
    used, rotated = slice(0, stack.num_tokens), stack.num_rotated[index]
    for name in ("keys", "values"):
        if not torch.isfinite(getattr(stack, name)[index, :, used]).all():
            _fail(stack, index, f"{name} hold values that are not finite")
    if rotated > stack.num_tokens:
        _fail(stack, index, f"{rotated} rotated keys for {stack.num_tokens} tokens")


def _check_prefix(stack: LayerStack, index: int) -> None:
    prefix = stack.num_prefix
    if (stack.origin.frame[index, :prefix] != TEXT).any():
        _fail(stack, index, "a visual token stands in the prefix")
    expected = torch.arange(prefix, device=stack.device)
    if (stack.positions[index, :, :prefix] != expected).any():
        _fail(stack, index, "the prefix has left its positions")


def _check_origin(stack: LayerStack, index: int) -> None:
    frames, seconds, patches, weights = (
        getattr(stack.origin, name)[index, : stack.num_tokens]
        for name in ("frame", "seconds", "patch", "weights")
    )
    if (frames[stack.num_prefix :] == TEXT).any():
        _fail(stack, index, "text stands among the visual tokens")
    is_text = weights == 0
    if (frames < SUMMARY).any() or (torch.where(is_text, patches - NO_PATCH, patches) < 0).any():
        _fail(stack, index, "frame or patch numbers are negative")
    if not torch.isfinite(seconds).all():
        _fail(stack, index, "seconds are not finite")
    nothing = is_text & (patches != NO_PATCH)
    if not torch.isfinite(weights).all() or (weights < 0).any() or nothing.any():
        _fail(stack, index, "weights are not positive numbers")


def _check_time_order(stack: LayerStack, index: int) -> None:
    frames = stack.origin.frame[index, stack.visual]
    is_text = stack.origin.weights[index, stack.visual] == 0
    for kind in (~is_text, is_text):
        times = frames[kind & (frames >= 0)]
        if (times[1:] < times[:-1]).any():
            _fail(stack, index, "kept tokens are not in time order")


def _check_positions(
    stack: LayerStack, index: int, position_bound: float, max_positions: int | None
) -> None:
    positions = stack.positions[index, :, : stack.num_tokens]
    top = positions.max().item() if stack.num_tokens else -1
    following = stack.next_position[index].item()
    if not math.isfinite(following) or not torch.isfinite(positions).all():
        _fail(stack, index, "positions are not finite")
    if (positions[:, stack.num_prefix :] < stack.num_prefix).any():
        _fail(stack, index, "a visual token stands before the end of the prefix")
    if following <= top:
        _fail(stack, index, f"next position {following} does not lie beyond {top}")
    if following > position_bound:
        _fail(stack, index, f"position bound {position_bound} lies below {following}")
    if max_positions is not None and top >= max_positions:
        _fail(stack, index, f"position {top} is not below the model's limit {max_positions}")
