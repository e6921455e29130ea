"""Text that belongs to a frame, such as its time stamp, stays and leaves with the frame.

A policy chooses among all tokens as if text were picture. What it chose is then put right, layer by
layer: pictures are taken in the order in which the policy prefers them, a frame's text is paid for
with its first one, and what cannot be bought ends the row. All layers keep as many tokens as the
policy said. Text stands before all pictures (`StreamMemory.text_first`), so that what policies work
out about the newest frames holds for their pictures.

Shapes: l layers, n visual tokens, k kept tokens. No host synchronisation, no loop over layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from hermes.policy_parts.base import Policy
from hermes.policy_parts.selection import ascending
from hermes.positions import dense_ranks
from hermes.store.layer_stack import LayerStack


def pictures_attention(stack: LayerStack, attention: Tensor | None) -> Tensor | None:
    """(l, n) attention in which text has as little as the least attended picture token."""
    if attention is None:
        return None
    text = stack.origin.is_text[:, stack.visual]
    lowest = attention.masked_fill(text, torch.inf).amin(dim=1, keepdim=True)
    return torch.where(text, lowest, attention)


def with_frames(
    stack: LayerStack, kept: Tensor, preference: Tensor | None, folding: slice | None
) -> Tensor:
    """A frame's text is kept if and only if one of its picture tokens is.

    The best picture tokens are taken as long as they and the text of their frames fit. What is left
    over goes to further tokens of these frames; where they have none, the next frame opens and the
    least preferred tokens of the others make room for its text. Where that is impossible because
    frames have fewer picture tokens than text, the rest is filled with text of other frames: the
    number of tokens is the same in all layers whatever happens.
    """
    row = _sorted(stack, kept, preference)
    room = _room(kept, folding)
    price = torch.where(row.text, 0, 1 + row.opens * row.own_text)
    fits = price.cumsum(1) <= room
    num_open = (row.opens & fits).sum(1, keepdim=True)
    num_open = num_open + _opens_one_more(row, room, num_open)
    opened = row.turn <= num_open
    kind = torch.where(row.text, 3, 4)
    kind = torch.where(opened, torch.where(row.text, 0, torch.where(row.opens, 1, 2)), kind)
    best = row.order.gather(1, kind.argsort(dim=1, stable=True))
    return ascending(best[:, : kept.shape[1]], row.order.shape[1], folding)


def without_text(
    stack: LayerStack, kept: Tensor, preference: Tensor | None, folding: slice | None
) -> Tensor:
    """Picture tokens by preference; text only where there are not enough of them."""
    row = _sorted(stack, kept, preference)
    return ascending(row.order[:, : kept.shape[1]], row.order.shape[1], folding)


Rule = Callable[[LayerStack, Tensor, Tensor | None, slice | None], Tensor]
RULES: dict[str, Rule] = {"with_frame": with_frames, "dropped": without_text}
"""`MemoryConfig.frame_text` -> what is done to the rows that a policy chose."""


def settle_text(
    policy: Policy,
    stacks: Sequence[LayerStack],
    kept: Sequence[Tensor],
    preferences: Sequence[Tensor | None],
) -> list[Tensor]:
    """Per stack the (l, k) rows that `MemoryConfig.frame_text` makes of the (l, k) `kept` that a
    policy chose; `preferences` as in `Policy.preferences`."""
    rule = RULES[policy.config.frame_text]
    return [
        rule(stack, rows, preference, policy.folding(stack))
        for stack, rows, preference in zip(stacks, kept, preferences, strict=True)
    ]


class _Sorted(NamedTuple):
    """The tokens of each layer, the best first, all text last; (l, n) each."""

    order: Tensor
    """Rows."""
    text: Tensor
    opens: Tensor
    """The best picture token of its frame."""
    turn: Tensor
    """As the how manieth its frame opens, from 1."""
    own_text: Tensor
    """Text tokens of its frame."""


def _sorted(stack: LayerStack, kept: Tensor, preference: Tensor | None) -> _Sorted:
    text = stack.origin.is_text[:, stack.visual]
    group = dense_ranks(stack.origin.frame[:, stack.visual])
    chosen = torch.zeros_like(text).scatter_(1, kept, True) & ~text
    if preference is None:
        preference = _most_chosen(group, chosen)
    by_preference = preference.argsort(dim=1, descending=True, stable=True)
    kind = torch.where(text, 2, 1 - chosen.long()).gather(1, by_preference)
    order = by_preference.gather(1, kind.argsort(dim=1, stable=True))
    group, text = group.gather(1, order), text.gather(1, order)
    places = torch.arange(text.shape[1], device=text.device).expand_as(group)
    first = torch.full_like(group, text.shape[1]).scatter_reduce_(1, group, places, "amin")
    first = first.gather(1, group)
    opens = (first == places) & ~text
    nowhere = text.gather(1, first)  # nothing is left of such a frame but text
    turn = opens.cumsum(1).gather(1, first).masked_fill(nowhere, text.shape[1] + 1)
    own_text = torch.zeros_like(group).scatter_add_(1, group, text.long()).gather(1, group)
    return _Sorted(order, text, opens, turn, own_text)


def _most_chosen(group: Tensor, chosen: Tensor) -> Tensor:
    """(l, n) int64."""
    count = torch.zeros_like(group).scatter_add_(1, group, chosen.long()).gather(1, group)
    return count * group.shape[1] + torch.arange(group.shape[1], device=group.device)


def _room(kept: Tensor, folding: slice | None) -> Tensor:
    """(l, 1) tokens that a layer may keep beside its summary."""
    room = kept.new_full((len(kept), 1), kept.shape[1])
    if folding is not None:
        room[folding] -= 1
    return room


def _opens_one_more(row: _Sorted, room: Tensor, num_open: Tensor) -> Tensor:
    """(l, 1) bool: the open frames cannot fill the room, and one more frame can be opened so that
    each keeps a picture token."""
    left, pictures = _left(row, room, num_open)
    left_then, _ = _left(row, room, num_open + 1)
    return (pictures < left) & (left_then > num_open)


def _left(row: _Sorted, room: Tensor, num_open: Tensor) -> tuple[Tensor, Tensor]:
    """(l, 1) room for picture tokens if so many frames are open, and those they have."""
    opened = row.turn <= num_open
    text = (opened & row.text).sum(1, keepdim=True)
    return room - text, opened.sum(1, keepdim=True) - text
