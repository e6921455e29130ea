"""Preallocated keys, values, positions and provenance of the layers that share a device.

All layers of a stack hold equally many tokens, so what moves tokens is one operation for all of
them. Buffers keep their address for the life of a stream; only `grow` changes it. Counts are known
to the host without asking the device.

Shapes: l layers of the stack, g key heads, c capacity, n tokens in use, q new tokens, k kept
tokens, d head width, a position axes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from hermes.positions import Renumber
from hermes.rotation import Angles, layer_tables, rotate
from hermes.scores.summary import Summary
from hermes.store.blocks import layer_blocks
from hermes.store.provenance import Provenance, ProvenanceBuffers
from hermes.store.quantised_states import States
from hermes.store.shared_store import Place
from hermes.store.storage import ModelStorage, Storage

_STATES = ("keys", "values", "rotated")


class LayerView(NamedTuple):
    """One layer of a stack: views of its buffers."""

    keys: States
    """(g, c, d) un-rotated."""
    values: States
    """(g, c, d)."""
    rotated: States
    """(g, c, d); valid as far as the stack says."""

    @property
    def device(self) -> torch.device:
        """Where this layer computes."""
        return self.keys.device


class LayerStack:
    """Un-rotated keys, values, and a rotated view of the keys that spares rotating the whole memory
    for every decoded token. Moving tokens moves it along; renumbering invalidates it from the first
    changed token on.
    """

    def __init__(
        self,
        layers: range,
        num_kv_heads: int,
        head_dim: int,
        capacity: int,
        dtype: torch.dtype,
        device: torch.device,
        num_axes: int,
        position_dtype: torch.dtype,
        place: Place | None = None,
        storage: Storage | None = None,
    ) -> None:
        """`layers`: numbers of the layers in the model; `place`: beside other streams, where
        `storage` allows it (default: tensors of `dtype`)."""
        self.layers, self.device = layers, device
        self.storage = storage or ModelStorage()
        count, shape = len(layers), (len(layers), num_kv_heads, capacity, head_dim)
        buffers = None
        if place is not None and self.storage.lies_beside_others:
            buffers = place.store.buffers(place.stream, layers.start, shape, dtype, device)
        self.place = None if buffers is None else place
        """None for buffers of its own, also once the stack has grown out of the shared ones."""
        self.keys: States
        self.values: States
        self.rotated: States
        self.keys, self.values, self.rotated = buffers or (
            self.storage.new(shape, dtype, device) for _ in _STATES
        )
        self.storage.open(shape, dtype, self.keys.device)
        self.first_capacity = capacity
        """What it was made for; the same for all layers of the same budget."""
        self.positions = torch.zeros(count, num_axes, capacity, dtype=position_dtype, device=device)
        self.next_position = torch.zeros(count, dtype=position_dtype, device=device)
        self.origin = ProvenanceBuffers(count, capacity, device)
        self.num_rotated = [0] * count
        """Tokens of each layer whose rotated keys are valid."""
        self.num_prefix = self.num_tokens = 0
        self._first_rows = self._number_rows()

    def __len__(self) -> int:
        """l."""
        return len(self.layers)

    def __getitem__(self, index: int) -> LayerView:
        """A layer by its index in the stack."""
        return LayerView(*(getattr(self, name).select(0, index) for name in _STATES))

    @property
    def num_visual(self) -> int:
        """Tokens per layer after the prefix, summaries included."""
        return self.num_tokens - self.num_prefix

    @property
    def visual(self) -> slice:
        """Slots of these tokens."""
        return slice(self.num_prefix, self.num_tokens)

    @property
    def capacity(self) -> int:
        """c."""
        return self.keys.shape[2]

    @property
    def num_bytes(self) -> int:
        """Bytes allocated."""
        buffers = [part for name in _STATES for part in self.parts(name)]
        own = sum(buffer.nbytes for buffer in (*buffers, self.positions, self.next_position))
        return own + self.origin.num_bytes

    def parts(self, name: str) -> tuple[Tensor, ...]:
        """The tensors (l, g, c, ...) that keys, values or rotated keys are stored in."""
        return self.storage.parts(getattr(self, name))

    def clear(self) -> None:
        """Forget everything; the buffers stay."""
        self.num_prefix = self.num_tokens = 0
        self.next_position.zero_()
        self.truncate(0)

    def truncate(self, num_tokens: int) -> None:
        """Forget the rotated view beyond `num_tokens`."""
        self.num_rotated = [min(valid, num_tokens) for valid in self.num_rotated]

    def grow(self, capacity: int) -> None:
        """Reallocate to `capacity` tokens; the only operation that changes addresses."""
        used, self.place = self.num_tokens, None
        for name in _STATES:
            old, held = getattr(self, name), self.parts(name)
            shape = (*old.shape[:2], capacity, old.shape[3])
            setattr(self, name, self.storage.new(shape, old.dtype, old.device))
            for target, source in zip(self.parts(name), held, strict=True):
                target[:, :, : source.shape[2]] = source  # an answer's stand behind those in use
        self.storage.open(tuple(self.keys.shape), self.keys.dtype, self.keys.device)
        positions = self.positions.new_zeros(*self.positions.shape[:2], capacity)
        positions[..., :used] = self.positions[..., :used]
        self.positions = positions
        self.origin.grow(capacity)
        self._first_rows = self._number_rows()

    def following(self, num_new: int) -> slice:
        """Slots of so many tokens after those in use."""
        return slice(self.num_tokens, self.num_tokens + num_new)

    def open(self, offsets: Tensor, origin: Provenance | None) -> None:
        """Record positions and provenance of q new tokens; `offsets` is (a, q)."""
        new = self.following(offsets.shape[1])
        if origin is None:
            self.origin.write_text(new)
            offsets = offsets.to(self.device)
        else:
            offsets = self.origin.write(new, origin, offsets)
        self.positions[..., new] = self.next_position.view(-1, 1, 1) + offsets

    def write(
        self, index: int, keys: Tensor, values: Tensor, cos: Tensor, sin: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Store (g, q, d) states of one layer after the tokens in use; cos and sin are (q, d).

        Returns:
            Rotated keys and values up to and with them, (g, n + q, d), as `Storage.attended`.
        """
        new = self.following(keys.shape[1])
        self.keys[index, :, new] = keys
        self.values[index, :, new] = values
        stored = self.keys[index, :, new]  # what is rotated anew after renumbering
        self.rotated[index, :, new] = rotate(stored, cos, sin)
        self.num_rotated[index] = new.stop
        return self.storage.attended(self.rotated, self.values, index, new.stop)

    def refresh(self, angles: Angles) -> None:
        """Bring the rotated view of all layers up to the tokens in use, in one rotation."""
        stale = slice(min(self.num_rotated), self.num_tokens)
        if stale.start < stale.stop:
            cos, sin = self.angles(angles, stale)
            for layers in self.blocks(stale.stop - stale.start):
                keys = self.keys[layers, :, stale]
                self.rotated[layers, :, stale] = rotate(keys, cos[layers, None], sin[layers, None])
            self.num_rotated = [stale.stop] * len(self)

    def refresh_layer(self, index: int, angles: Angles) -> None:
        """The same for one layer whose tokens came alone."""
        stale = slice(self.num_rotated[index], self.num_tokens)
        if stale.start < stale.stop:
            cos, sin = angles(self.positions[index, :, stale])
            self.rotated[index, :, stale] = rotate(self.keys[index, :, stale], cos, sin)
            self.num_rotated[index] = stale.stop

    def angles(self, angles: Angles, slots: slice) -> tuple[Tensor, Tensor]:
        """cos and sin (l, slots, d) of the positions in all layers."""
        return layer_tables(angles, self.positions[..., slots].transpose(0, 1))

    def following_angles(self, angles: Angles, offsets: Tensor) -> tuple[Tensor, Tensor]:
        """The same for (a, n) offsets from the next free positions; nothing is written."""
        positions = self.next_position.view(1, -1, 1) + offsets[:, None].to(self.device)
        return layer_tables(angles, positions)

    def gather(self, kept: Tensor) -> None:
        """Move the visual tokens at (l, k) `kept` to the beginning; the others are gone.

        Rows ascend; every layer keeps equally many.
        """
        start, count = self.num_prefix, kept.shape[1]
        stop = start + count
        for layers in self.blocks(count):
            self._gather_states(layers, kept[layers], slice(start, stop))
        axes = self.positions.shape[1]
        self.positions[..., start:stop] = self.positions[..., start:].gather(
            2, kept[:, None].expand(-1, axes, -1)
        )
        self.origin.gather(start, kept)
        self.num_tokens = stop
        self.truncate(stop)

    def _gather_states(self, layers: slice, kept: Tensor, target: slice) -> None:
        """Rows of the (l * g * c, ...) buffers: faster than a gather with an index per number."""
        heads = self.keys.shape[1]
        rows = (self._first_rows[: len(kept)] + kept[:, None]).flatten()
        for buffer in (part for name in _STATES for part in self.parts(name)):
            mine = buffer[layers]
            moved = mine.flatten(0, 2)[target.start :].index_select(0, rows)
            mine[:, :, target] = moved.view(len(kept), heads, kept.shape[1], -1)

    def _number_rows(self) -> Tensor:
        """(l, g, 1) row of the first token of each head in the (l * g * c, d) buffers."""
        heads, capacity = self.keys.shape[1], max(1, self.keys.shape[2])
        rows = torch.arange(0, len(self) * heads * capacity, capacity, device=self.device)
        return rows.view(-1, heads, 1)

    def blocks(self, num_tokens: int) -> Iterator[slice]:
        """Layers whose keys of so many tokens are worked on at a time."""
        return layer_blocks(len(self), self.keys.shape[1] * num_tokens * self.keys.shape[3])

    def renumber(self, renumber: Renumber) -> None:
        """Close the gaps in the positions of what is in use."""
        used = self.positions[..., : self.num_tokens]
        used.copy_(renumber(used, self.num_prefix))
        self.truncate(self.num_prefix)

    def settle(self, summary: Summary | None, *, renumbered: bool = False) -> None:
        """Recompute the next free positions; a summary takes the first of them.

        The last token of its layers is a stand-in that it replaces. Unless it was `renumbered`, it
        stands where the token before it does, if there is one.
        """
        used = self.positions[..., : self.num_tokens]
        torch.amax(used, dim=(1, 2), out=self.next_position).add_(1)
        if summary is None:
            return
        layers, slot = summary.layers, self.num_tokens - 1
        place = self.next_position[layers]
        if renumbered or self.num_visual == 1:
            torch.amax(used[layers, :, :slot], dim=(1, 2), out=place).add_(1)
        self.positions[layers, :, slot] = place[:, None]
        place.add_(1)  # the next free one
        self.keys[layers, :, slot] = summary.keys
        self.values[layers, :, slot] = summary.values
        self.origin.write_summary(layers, slot, summary.seconds, summary.weights)
        self.truncate(slot)

    def replace(
        self, rows: Tensor, keys: Tensor, values: Tensor, weights: Tensor, angles: Angles
    ) -> None:
        """Put other content into visual tokens; positions and frames stay.

        Args:
            rows: (l, m) indices in [0, num_visual).
            keys, values: (l, g, m, d), keys un-rotated.
            weights: (l, m) tokens that each new one stands for.
        """
        slots = rows + self.num_prefix
        heads, width = self.keys.shape[1], self.keys.shape[3]
        places = slots[:, None, :, None].expand(-1, heads, -1, width)
        axes, new = self.positions.shape[1], self.storage.as_stored(keys, self.keys.dtype)
        positions = self.positions.gather(2, slots[:, None].expand(-1, axes, -1))
        cos, sin = angles(positions.transpose(0, 1).flatten(1))
        shape = (len(self), 1, slots.shape[1], width)
        self.keys.scatter_(2, places, new)
        self.rotated.scatter_(2, places, rotate(new, cos.view(shape), sin.view(shape)))
        self.values.scatter_(2, places, values.to(self.values.dtype))
        self.origin.weights.scatter_(1, slots, weights.to(self.origin.weights.dtype))
