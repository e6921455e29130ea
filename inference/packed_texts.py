"""Several texts that are read in one pass, each as if it stood alone after the memory.

Shapes: h query heads, g key heads, q rows of all texts that a layer still reads, n tokens in
memory, d head width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hermes.positions import Placement, PositionRule
from inference.attention import added, masked


class PackedTexts:
    """Texts one behind the other, those first that are read deepest; each begins at the next free
    position and sees the memory and itself."""

    def __init__(self, lengths: Sequence[int], depths: Sequence[int]) -> None:
        """`depths`: layers that read each text, descending."""
        self._lengths, self._depths = lengths, depths
        self._masks: dict[tuple[int, int, torch.device], Tensor] = {}

    def num_rows(self, layer: int) -> int:
        """q: of the texts that this layer reads."""
        pairs = zip(self._lengths, self._depths, strict=True)
        return sum(length for length, depth in pairs if layer < depth)

    def placement(self, rule: PositionRule, device: torch.device) -> Placement:
        """As far as the longest text reaches."""
        each = [rule.text(length, device) for length in self._lengths]
        offsets = torch.cat([text.offsets for text in each], dim=1)
        return Placement(offsets, max(text.advance for text in each))

    def kernel(self, queries: Tensor, keys: Tensor, values: Tensor, scaling: float) -> Tensor:
        """As `attention.Kernel`; the last q keys are those of the (h, q, d) queries."""
        return masked(queries, keys, values, scaling, self._mask(queries, keys))

    def _mask(self, queries: Tensor, keys: Tensor) -> Tensor:
        """(r * q, n + q) as `masked` takes it; made once for all layers alike."""
        rows, key = queries.shape[1], (queries.shape[1], keys.shape[1], keys.device)
        if key not in self._masks:
            mask = torch.ones(rows, keys.shape[1], dtype=torch.bool, device=keys.device)
            own, first = mask[:, keys.shape[1] - rows :].tril_(), 0
            for length in self._lengths:
                own[first + length :, first : first + length] = False
                first += length
            repeated = mask.repeat(len(queries) // len(keys), 1)
            self._masks[key] = added(repeated, queries.dtype)
        return self._masks[key]
