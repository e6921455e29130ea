"""Texts of any lengths as one batch. Shapes: s texts, t tokens of all, q of the longest."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor


@dataclass(frozen=True)
class Texts:
    """Where the t tokens, one text behind the other, stand in a batch (s, q) in which shorter texts
    are filled up with their last token."""

    owner: Tensor
    """(t,) in [0, s)."""
    offset: Tensor
    """(t,) in [0, q)."""
    ends: Tensor
    """(s,) in [0, t): the last tokens."""
    filled: Tensor
    """(s, q) in [0, t)."""
    is_full: bool
    """All texts are of one length."""

    @property
    def longest(self) -> int:
        """q."""
        return self.filled.shape[1]

    def batched(self, states: Tensor) -> Tensor:
        """(t, ...) -> (s, q, ...)."""
        return states.unflatten(0, self.filled.shape) if self.is_full else states[self.filled]

    def joined(self, states: Tensor) -> Tensor:
        """(s, q, ...) -> (t, ...)."""
        return states.flatten(0, 1) if self.is_full else states[self.owner, self.offset]


@lru_cache(maxsize=16)  # sent to a device once, not with every token
def texts_of(lengths: tuple[int, ...], device: torch.device) -> Texts:
    """For texts of these lengths, above 0."""
    counts, longest = torch.tensor(lengths), max(lengths)
    starts = counts.cumsum(0) - counts
    owner = torch.arange(len(lengths)).repeat_interleave(counts)
    offset = torch.arange(len(owner)) - starts[owner]
    filled = starts[:, None] + torch.arange(longest).minimum(counts[:, None] - 1)
    tables = (owner, offset, starts + counts - 1, filled.flatten())
    sizes = [len(table) for table in tables]
    owner, offset, ends, flat = torch.cat(tables).to(device).split(sizes)
    return Texts(owner, offset, ends, flat.view(filled.shape), min(lengths) == longest)
