"""The state of one stream: what every layer still remembers, in buffers that never grow with it.

Shapes: l layers, g key heads, c capacity, n tokens in use, q new tokens, d head width, a position
axes (1 for RoPE, 3 for M-RoPE).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from hermes.integrity import check_integrity
from hermes.layer_buffers import LayerBuffers
from hermes.positions import Placement, Renumber
from hermes.provenance import Provenance, ProvenanceBuffers
from hermes.rotation import Angles
from hermes.snapshot import load, save
from hermes.summary import Summary, fold

logger = logging.getLogger(__name__)

LayerAngles = Callable[[int], tuple[Tensor, Tensor]]
"""Layer -> cos and sin (q, d) of the tokens being appended, on the layer's device."""

_BATCHED_ANGLES = 4096
"""Up to this many (layer, token) pairs the angles of all layers are computed in one call."""


class Mark(NamedTuple):
    """A point to which `StreamMemory.rollback` returns."""

    num_tokens: int
    next_position: Tensor
    position_bound: float


class StreamMemory:
    """Keys, values, positions and provenance of one stream, per layer.

    The first `num_prefix` tokens are the prompt and are never evicted. All layers hold the same
    number of tokens. Keys rest un-rotated; `angles` turns positions into rotations at use.
    """

    def __init__(
        self,
        devices: Sequence[torch.device],
        num_kv_heads: int,
        head_dim: int,
        capacity: int,
        dtype: torch.dtype,
        angles: Angles,
        num_axes: int = 1,
        position_dtype: torch.dtype = torch.int64,
    ) -> None:
        """Allocate.

        Args:
            devices: one per layer; each layer's keys and values live on its layer's device.
            capacity: tokens per layer, text included.
            angles: (a, n) positions -> cos, sin (n, d) on the positions' device.
        """
        self.layers = [
            LayerBuffers(num_kv_heads, head_dim, capacity, dtype, device) for device in devices
        ]
        num_layers, home = len(devices), devices[0]
        self.positions = torch.zeros(
            num_layers, num_axes, capacity, dtype=position_dtype, device=home
        )
        self.provenance = ProvenanceBuffers(num_layers, capacity, home)
        self.next_position = torch.zeros(num_layers, dtype=position_dtype, device=home)
        self.position_bound: float = 0
        """Host number that no position reaches; exact after `measure_positions`."""
        self.num_prefix = 0
        self.num_tokens = 0
        self.num_renumberings = 0
        """Since allocation."""
        self._angles = angles

    def sibling(self, capacity: int) -> StreamMemory:
        """An empty memory of the same shape, dtype and placement for `capacity` tokens."""
        heads, _, width = self.layers[0].keys.shape
        return StreamMemory(
            [layer.device for layer in self.layers],
            heads,
            width,
            capacity,
            self.layers[0].keys.dtype,
            self._angles,
            self.positions.shape[1],
            self.positions.dtype,
        )

    @property
    def num_layers(self) -> int:
        """l."""
        return len(self.layers)

    @property
    def capacity(self) -> int:
        """Tokens per layer that fit without reallocation."""
        return self.positions.shape[-1]

    @property
    def num_visual(self) -> int:
        """Tokens per layer after the prefix, summaries included."""
        return self.num_tokens - self.num_prefix

    @property
    def num_bytes(self) -> int:
        """Bytes allocated for this stream, all buffers of all layers."""
        small = self.positions.numel() * self.positions.element_size()
        return small + self.provenance.num_bytes + sum(layer.num_bytes for layer in self.layers)

    def clear(self) -> None:
        """Forget everything; the buffers stay."""
        self.num_prefix = self.num_tokens = 0
        self.next_position.zero_()
        self.position_bound = 0
        for layer in self.layers:
            layer.truncate(0)

    def close_prefix(self) -> None:
        """Declare all tokens so far the prefix, which is never evicted."""
        self.num_prefix = self.num_tokens

    def reserve(self, num_new: int) -> None:
        """Make room for `num_new` tokens; a reallocation happens only if they do not fit."""
        if self.num_tokens + num_new <= self.capacity:
            return
        needed = max(self.num_tokens + num_new, self.capacity * 3 // 2)
        logger.info("memory grows from %d to %d tokens per layer", self.capacity, needed)
        for layer in self.layers:
            layer.grow(needed, self.num_tokens)
        grown = self.positions.new_zeros(*self.positions.shape[:2], needed)
        grown[..., : self.num_tokens] = self.positions[..., : self.num_tokens]
        self.positions = grown
        self.provenance.grow(needed)

    @contextmanager
    def append(
        self, placement: Placement, provenance: Provenance | None = None
    ) -> Iterator[LayerAngles]:
        """Open slots for q new tokens; inside, every layer `write`s its keys and values.

        An exception inside leaves the memory as it was. Yields the rotations of the new tokens.
        """
        self.reserve(placement.num_tokens)
        new = slice(self.num_tokens, self.num_tokens + placement.num_tokens)
        offsets = placement.offsets.to(self.positions.device)
        self.positions[..., new] = self.next_position.view(-1, 1, 1) + offsets
        self.provenance.write(new, provenance)
        try:
            yield self._angles_of(new)
        except BaseException:
            for layer in self.layers:
                layer.truncate(self.num_tokens)
            raise
        self.num_tokens = new.stop
        self.next_position = self.next_position + placement.advance
        self._raise_bound(placement.advance)

    def write(
        self, layer: int, keys: Tensor, values: Tensor | None, cos: Tensor, sin: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Store the (g, q, d) un-rotated keys and values of the tokens being appended.

        Values may be None for tokens that are only scored and leave again.

        Returns:
            Rotated keys and values of everything up to and with the new tokens, (g, n + q, d),
            views of the buffers.
        """
        buffers, stop = self.layers[layer], self.num_tokens + keys.shape[1]
        buffers.refresh(self.positions[layer, :, : self.num_tokens], self._angles)
        buffers.write(self.num_tokens, keys, values, cos, sin)
        return buffers.rotated[:, :stop], buffers.values[:, :stop]

    def mark(self) -> Mark:
        """The present state, for `rollback`."""
        return Mark(self.num_tokens, self.next_position, self.position_bound)

    def rollback(self, mark: Mark) -> None:
        """Drop everything appended since `mark`; nothing older is touched."""
        self.num_tokens, self.next_position, self.position_bound = mark
        for layer in self.layers:
            layer.truncate(mark.num_tokens)

    @contextmanager
    def scratch(self) -> Iterator[None]:
        """Whatever is appended inside leaves again, also after an exception."""
        mark = self.mark()
        try:
            yield
        finally:
            self.rollback(mark)

    def fold(self, layer: int, kept: Tensor, *, weighted: bool = False) -> Summary:
        """Fold the visual tokens of `layer` that are not in `kept` (indices after the prefix)."""
        visual = slice(self.num_prefix, self.num_tokens)
        buffers = self.layers[layer]
        origin = self.provenance
        return fold(
            buffers.keys[:, visual],
            buffers.values[:, visual],
            origin.seconds[layer, visual].to(buffers.device),
            origin.weights[layer, visual].to(buffers.device),
            kept.to(buffers.device),
            weighted=weighted,
        )

    def replace(
        self, layer: int, rows: Tensor, keys: Tensor, values: Tensor, weights: Tensor
    ) -> None:
        """Put other content into visual tokens of one layer; positions and frames stay.

        Args:
            rows: (m,) indices in [0, num_visual).
            keys, values: (g, m, d), keys un-rotated.
            weights: (m,) tokens that each new one stands for.
        """
        buffers, slots = self.layers[layer], rows + self.num_prefix
        buffers.refresh(self.positions[layer, :, : self.num_tokens], self._angles)
        here = slots.to(self.positions.device)
        self.provenance.weights[layer, here] = weights.to(self.provenance.weights)
        cos, sin = self._angles(self.positions[layer][:, here].to(buffers.device))
        buffers.replace(slots.to(buffers.device), keys, values, cos, sin)

    def keep(
        self,
        kept: Sequence[Tensor],
        summaries: Sequence[Summary | None] | None = None,
        renumber: Renumber | None = None,
    ) -> None:
        """Keep these visual tokens of each layer, then renumber, then append the summaries.

        Args:
            kept: per layer, ascending indices in [0, num_visual).
            summaries: per layer one token to append at the next free position, or None.
            renumber: closes the gaps in the positions of what is kept.

        Raises:
            ValueError: layers would end up with different numbers of tokens.
        """
        summaries = summaries or [None] * self.num_layers
        lengths = {
            rows.numel() + (summary is not None)
            for rows, summary in zip(kept, summaries, strict=True)
        }
        if len(lengths) != 1:
            raise ValueError(f"every layer must keep the same number of tokens, got {lengths}")
        for layer, rows in enumerate(kept):
            self._keep_layer(layer, rows)
        self.num_tokens = self.num_prefix + lengths.pop()
        counts = [self.num_prefix + rows.numel() for rows in kept]
        self._renumber(counts, renumber)
        for layer, summary in enumerate(summaries):
            if summary is not None:
                self._place_summary(layer, counts[layer], summary)
        self._raise_bound(any(summary is not None for summary in summaries))

    def renumber(self, renumber: Renumber) -> None:
        """Close the gaps in the positions of every layer; keys and values do not change."""
        self._renumber([self.num_tokens] * self.num_layers, renumber)

    def measure_positions(self) -> float:
        """Make `position_bound` exact: one past the largest position. Waits for the device."""
        self.position_bound = self.next_position.max().item()
        return self.position_bound

    def _raise_bound(self, advance: float) -> None:
        """Rounded like `next_position`: steps in time may be fractions, in fp32."""
        bound = torch.tensor(self.position_bound, dtype=self.positions.dtype)
        self.position_bound = (bound + advance).item()

    def _angles_of(self, new: slice) -> LayerAngles:
        positions = self.positions[..., new]
        num_layers, num_axes, num_new = positions.shape
        if num_layers * num_new > _BATCHED_ANGLES:
            return lambda layer: self._angles(positions[layer].to(self.layers[layer].device))
        flat = positions.transpose(0, 1).reshape(num_axes, -1)
        cos, sin = (table.view(num_layers, num_new, -1) for table in self._angles(flat))

        def angles(layer: int) -> tuple[Tensor, Tensor]:
            device = self.layers[layer].device
            return cos[layer].to(device), sin[layer].to(device)

        return angles

    def _keep_layer(self, layer: int, kept: Tensor) -> None:
        if kept.numel() == self.num_visual:
            return
        start, rows = self.num_prefix, self.num_prefix + kept
        self.layers[layer].gather(start, rows)
        rows = rows.to(self.positions.device)
        stop = start + rows.numel()
        self.positions[layer, :, start:stop] = self.positions[layer].index_select(1, rows)
        self.provenance.gather(layer, start, rows)

    def _renumber(self, counts: Sequence[int], renumber: Renumber | None) -> None:
        self.num_renumberings += renumber is not None
        for layer, count in enumerate(counts):
            if renumber is not None:
                used = self.positions[layer, :, :count]
                used.copy_(renumber(used, self.num_prefix))
                self.layers[layer].truncate(self.num_prefix)
        self.next_position = torch.stack(
            [self.positions[layer, :, :count].amax() + 1 for layer, count in enumerate(counts)]
        )

    def _place_summary(self, layer: int, slot: int, summary: Summary) -> None:
        place = self.next_position[layer]
        self.positions[layer, :, slot] = place
        self.provenance.write_summary(layer, slot, summary.seconds, summary.weight)
        buffers = self.layers[layer]
        buffers.refresh(self.positions[layer, :, :slot], self._angles)
        cos, sin = self._angles(self.positions[layer, :, slot : slot + 1].to(buffers.device))
        buffers.write(slot, summary.key, summary.value, cos, sin)
        self.next_position[layer] += 1

    def check_integrity(self, max_positions: int | None = None) -> None:
        """Verify the contracts of design section 4. Waits for the device; for tests and debugging.

        Raises:
            MemoryIntegrityError: naming the contract, the layer and the values.
        """
        check_integrity(self, max_positions)

    def snapshot(self, path: str | Path, metadata: Mapping[str, str] | None = None) -> None:
        """Write the tokens in use to a safetensors file; see `hermes.snapshot.save`."""
        save(self, path, metadata)

    def restore(self, path: str | Path) -> dict[str, str]:
        """Replace the content by that of a snapshot; returns the metadata saved with it."""
        return load(self, path)
