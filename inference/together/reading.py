"""What several streams are to read, in one pass: every weight is used once for the rows of all of
them, attention reaches each stream's own memory.

Shapes: h query heads, q tokens of all passages, d head width.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import torch
from torch import Tensor

from hermes.memory import LayerAngles
from inference.decoder import Output, Passage, StreamDecoder

_States = tuple[Tensor, Tensor, Tensor]


@torch.no_grad()
def read_together(decoder: StreamDecoder, passages: Sequence[Passage]) -> None:
    """Read passages of any lengths, each into a memory of its own, as `StreamDecoder.forward`
    would one by one. An error leaves every memory as it was.

    Args:
        decoder: over the weights of all of them.
        passages: at least one; all with features `added` behind equally many layers.
    """
    decoder.refresh()
    hidden = torch.cat([passage.embeddings for passage in passages])
    added = [torch.cat(parts) for parts in zip(*(each.added for each in passages), strict=True)]
    with ExitStack() as appended:
        angles = [
            appended.enter_context(each.memory.append(each.placement, each.provenance))
            for each in passages
        ]
        last = len(decoder.layers) - 1
        for index in range(last + 1):
            hidden = hidden.to(passages[0].memory.place_of(index)[0].device)
            rows: Output = "none" if index == last else "all"
            states = decoder.project(index, hidden)
            attended = _attend(decoder, index, states, passages, angles, rows)
            if rows == "all":
                hidden = decoder.after_attention(index, hidden, torch.cat(attended, dim=1))
            if index < len(added):
                hidden = hidden + added[index].to(hidden.device)


def _attend(
    decoder: StreamDecoder,
    index: int,
    states: _States,
    passages: Sequence[Passage],
    angles: Sequence[LayerAngles],
    rows: Output,
) -> list[Tensor]:
    """(h, q, d) of each passage; none where no rows are wanted."""
    sizes = [len(passage.embeddings) for passage in passages]
    parts = zip(*(each.split(sizes, dim=1) for each in states), strict=True)
    found = [
        decoder.attend(index, own, passage.memory, angle, rows, passage.observer)
        for own, passage, angle in zip(parts, passages, angles, strict=True)
    ]
    return [attended for attended in found if attended is not None]
