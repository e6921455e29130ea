"""Preallocated keys and values of one layer.

Shapes: g key heads, c capacity, n tokens, d head width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hermes.rotation import Angles, rotate


class LayerBuffers:
    """Un-rotated keys, values, and a rotated view of the keys that is valid up to `num_rotated`.

    The rotated view spares rotating the whole memory for every decoded token. Moving tokens moves
    it along; renumbering invalidates it from the first changed token on.
    """

    def __init__(
        self,
        num_kv_heads: int,
        head_dim: int,
        capacity: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        shape = (num_kv_heads, capacity, head_dim)
        self.keys = torch.empty(shape, dtype=dtype, device=device)
        self.values = torch.empty_like(self.keys)
        self.rotated = torch.empty_like(self.keys)
        self.num_rotated = 0

    @property
    def device(self) -> torch.device:
        """Where this layer computes."""
        return self.keys.device

    @property
    def num_bytes(self) -> int:
        """Bytes allocated."""
        return 3 * self.keys.numel() * self.keys.element_size()

    def grow(self, capacity: int, num_tokens: int) -> None:
        """Reallocate to `capacity` tokens, carrying the first `num_tokens` over."""
        for name in ("keys", "values", "rotated"):
            old = getattr(self, name)
            new = old.new_empty(old.shape[0], capacity, old.shape[2])
            new[:, :num_tokens] = old[:, :num_tokens]
            setattr(self, name, new)

    def write(
        self, start: int, keys: Tensor, values: Tensor | None, cos: Tensor, sin: Tensor
    ) -> None:
        """Store (g, n, d) keys and values from slot `start` on; cos and sin are (n, d)."""
        stop = start + keys.shape[1]
        self.keys[:, start:stop] = keys
        if values is not None:
            self.values[:, start:stop] = values
        self.rotated[:, start:stop] = rotate(keys, cos, sin)
        self.num_rotated = stop

    def replace(
        self, slots: Tensor, keys: Tensor, values: Tensor, cos: Tensor, sin: Tensor
    ) -> None:
        """Overwrite the tokens at (m,) `slots`; keys, values (g, m, d), cos and sin (m, d)."""
        self.keys[:, slots] = keys.to(self.keys)
        self.values[:, slots] = values.to(self.values)
        self.rotated[:, slots] = rotate(self.keys[:, slots], cos, sin)

    def refresh(self, positions: Tensor, angles: Angles) -> None:
        """Bring the rotated view up to (a, n) positions, n tokens in use."""
        stale = slice(self.num_rotated, positions.shape[1])
        if stale.start < stale.stop:
            cos, sin = angles(positions[:, stale].to(self.device))
            self.rotated[:, stale] = rotate(self.keys[:, stale], cos, sin)
            self.num_rotated = stale.stop

    def gather(self, start: int, source: Tensor) -> None:
        """Move the tokens at `source` (absolute slots, ascending) to `start` and following."""
        stop = start + source.numel()
        source = source.to(self.device)
        for buffer in (self.keys, self.values, self.rotated):
            buffer[:, start:stop] = buffer.index_select(1, source)
        self.num_rotated = min(self.num_rotated, stop)

    def truncate(self, num_tokens: int) -> None:
        """Forget the rotated view beyond `num_tokens`."""
        self.num_rotated = min(self.num_rotated, num_tokens)
