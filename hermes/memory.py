"""The state of one stream: what every layer still remembers, in buffers that never grow with it.

Shapes: l layers, g key heads, c capacity, n tokens in use, q new tokens, k kept tokens, d head
width, a position axes (1 for RoPE, 3 for M-RoPE).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor

from hermes.positions import Placement, Renumber
from hermes.rotation import Angles
from hermes.scores.summary import Summary, fold
from hermes.store.integrity import check_integrity
from hermes.store.layer_stack import LayerStack, LayerView
from hermes.store.ledger import Ledger, frames_of
from hermes.store.provenance import Provenance, ProvenanceView, joined
from hermes.store.shared_store import Place
from hermes.store.storage import storage_of

logger = logging.getLogger(__name__)

LayerAngles = Callable[[int], tuple[Tensor, Tensor]]
"""Layer -> cos and sin (q, d) of the tokens being appended, on the layer's device."""

_Home = tuple[torch.device, int]
"""Device and capacity of a layer."""

_BATCHED_ANGLES = 4096
"""Up to this many (layer, token) pairs the angles of all layers are computed in one call."""


class Mark(NamedTuple):
    """A point to which `StreamMemory.rollback` returns."""

    num_tokens: list[int]
    next_positions: list[Tensor]
    """Per stack, as the number of tokens."""
    position_bound: float
    num_frames: int
    """In the ledger."""
    has_frame_text: bool


class StreamMemory:
    """Keys, values, positions and provenance of one stream, stacked over the layers of a device.

    The first `num_prefix` tokens are the prompt and are never evicted. All layers of a stack hold
    the same number of tokens; so do all stacks, unless bands have different budgets. Keys rest
    un-rotated; `angles` turns positions into rotations at use.
    """

    def __init__(
        self,
        devices: Sequence[torch.device],
        num_kv_heads: int,
        head_dim: int,
        capacity: int | Sequence[int],
        dtype: torch.dtype,
        angles: Angles,
        num_axes: int = 1,
        position_dtype: torch.dtype = torch.int64,
        place: Place | None = None,
        kv_dtype: str = "model",
    ) -> None:
        """Allocate.

        Args:
            devices: one per layer; each layer's tokens live on its layer's device.
            capacity: tokens per layer, text included; one for all layers or one for each.
            angles: (a, n) positions -> cos, sin (n, d) on the positions' device.
            dtype: of the states that are written and attended to.
            place: in buffers that other streams share; None for buffers of its own.
            kv_dtype: how the states are stored, a name in `STORAGES`.

        Raises:
            ValueError: a `kv_dtype` that is unknown, or that a device cannot store.
        """
        self.kv_dtype, self.storage = kv_dtype, storage_of(kv_dtype, devices)
        sizes = [capacity] * len(devices) if isinstance(capacity, int) else capacity
        self.stacks = [
            LayerStack(
                layers,
                num_kv_heads,
                head_dim,
                size,
                dtype,
                device,
                num_axes,
                position_dtype,
                place,
                self.storage,
            )
            for layers, (device, size) in _runs(list(zip(devices, sizes, strict=True)))
        ]
        """One per run of layers on the same device and of the same capacity, in their order."""
        self.position_bound: float = 0
        """Host number that no position reaches; exact after `measure_positions`."""
        self.num_renumberings = 0
        """How often positions were renumbered, over the life of the stream."""
        self.filled_late = False
        """True where the tokens of a layer are filled in just before it reads them."""
        self.has_frame_text = False
        """Whether text that belongs to frames has been read."""
        self.ledger = Ledger()
        self._angles = angles
        self._places = [
            (stack, index) for stack in self.stacks for index in range(len(stack.layers))
        ]

    def sibling(
        self,
        capacity: int | Sequence[int],
        device: torch.device | None = None,
        depth: int | None = None,
    ) -> StreamMemory:
        """An empty memory of the same shape and dtype for `capacity` tokens, layers placed alike
        or all on `device`; of the first `depth` layers alone, if that is given."""
        first = self.stacks[0]
        return StreamMemory(
            [device or stack.device for stack, _ in self._places[:depth]],
            first.keys.shape[1],
            first.keys.shape[3],
            capacity,
            first.keys.dtype,
            self._angles,
            first.positions.shape[1],
            first.positions.dtype,
            kv_dtype=self.kv_dtype,
        )

    @property
    def num_layers(self) -> int:
        """l."""
        return len(self._places)

    @property
    def layers(self) -> list[LayerView]:
        """Views of every layer's buffers."""
        return [stack[index] for stack, index in self._places]

    @property
    def device(self) -> torch.device:
        """Of the first layer."""
        return self.stacks[0].device

    @property
    def capacity(self) -> int:
        """Tokens per layer that fit without reallocation, in the smallest layers."""
        return min(stack.capacity for stack in self.stacks)

    @property
    def num_prefix(self) -> int:
        """Tokens of the prompt."""
        return self.stacks[0].num_prefix

    @property
    def num_tokens(self) -> int:
        """n, of the layers that hold most."""
        return max(stack.num_tokens for stack in self.stacks)

    @property
    def num_visual(self) -> int:
        """Tokens per layer after the prefix, summaries included; of the layers that hold most."""
        return self.num_tokens - self.num_prefix

    @property
    def num_bytes(self) -> int:
        """Bytes allocated for this stream, all buffers of all layers and what reading them
        takes."""
        return sum(stack.num_bytes for stack in self.stacks) + self.storage.num_bytes

    @property
    def positions(self) -> Tensor:
        """(l, a, c) positions, the buffer itself if there is one stack; for looking, not for
        the hot path."""
        return joined([stack.positions for stack in self.stacks])

    @property
    def next_position(self) -> Tensor:
        """(l,) next free position of every layer; likewise."""
        return joined([stack.next_position for stack in self.stacks])

    @property
    def provenance(self) -> ProvenanceView:
        """Where every token came from, (l, c) each; likewise."""
        return ProvenanceView([stack.origin for stack in self.stacks])

    def place_of(self, layer: int) -> tuple[LayerStack, int]:
        """The stack of a layer and its index there."""
        return self._places[layer]

    def clear(self) -> None:
        """Forget everything; the buffers stay."""
        for stack in self.stacks:
            stack.clear()
        self.position_bound = 0
        self.has_frame_text = False
        self.ledger = Ledger()

    def hold(self, num_prefix: int, num_tokens: int | Sequence[int]) -> None:
        """Declare so many tokens in use, in all layers or in each; what they are is written by the
        caller."""
        counts = [num_tokens] * self.num_layers if isinstance(num_tokens, int) else num_tokens
        for stack in self.stacks:
            stack.num_prefix, stack.num_tokens = num_prefix, counts[stack.layers.start]

    def close_prefix(self) -> None:
        """Declare all tokens so far the prefix, which is never evicted."""
        self.hold(self.num_tokens, self.num_tokens)

    def reserve(self, num_new: int) -> None:
        """Make room for `num_new` tokens; buffers are reallocated only if they do not fit."""
        for stack in self.stacks:
            if stack.num_tokens + num_new > stack.capacity:
                needed = max(stack.num_tokens + num_new, stack.capacity * 3 // 2)
                logger.info("memory grows from %d to %d tokens per layer", stack.capacity, needed)
                stack.grow(needed)

    def enlarge(self, num_tokens: int) -> None:
        """Reallocate every buffer with room for so many tokens more than it was made for."""
        for stack in self.stacks:
            stack.grow(stack.capacity + num_tokens)

    def wipe_unused(self) -> None:
        """Zeros behind the tokens in use, where something may have left what is not a number: a
        mask takes away whatever a slot holds, but not that."""
        for stack in self.stacks:
            for part in (*stack.parts("rotated"), *stack.parts("values")):
                part[:, :, stack.num_tokens :].zero_()

    @contextmanager
    def append(
        self, placement: Placement, provenance: Provenance | None = None
    ) -> Iterator[LayerAngles]:
        """Open slots for q new tokens; inside, every layer `write`s its keys and values.

        An exception inside leaves the memory as it was. Yields the rotations of the new tokens.
        """
        self.reserve(placement.num_tokens)
        frames = frames_of(provenance, self.num_tokens) if provenance is not None else []
        had_text = self.has_frame_text
        self.has_frame_text |= any(frame.num_text for frame in frames)
        if not self.filled_late:
            self.refresh()
        for stack in self.stacks:
            stack.open(placement.offsets, provenance)
        try:
            yield self._angles_of(placement.num_tokens)
        except BaseException:
            for stack in self.stacks:
                stack.truncate(stack.num_tokens)
            self.has_frame_text = had_text
            raise
        self.ledger.frames += frames
        for stack in self.stacks:
            stack.num_tokens += placement.num_tokens
            stack.next_position.add_(placement.advance)
        self._raise_bound(placement.advance)

    def write(
        self, layer: int, keys: Tensor, values: Tensor, cos: Tensor, sin: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Store the (g, q, d) un-rotated keys and values of the tokens being appended.

        Values may be None for tokens that are only scored and leave again.

        Returns:
            Rotated keys and values of everything up to and with the new tokens, (g, n + q, d):
            views of the buffers, or of what they are read into, which the next layer overwrites.
        """
        stack, index = self._places[layer]
        if self.filled_late:
            stack.refresh_layer(index, self._angles)
        return stack.write(index, keys, values, cos, sin)

    def advance(self, num_new: int = 1) -> None:
        """Count text tokens whose keys and values were written to the next slots of every layer,
        beside those of other streams. They can only be rolled back: where they stand and came from
        is not noted."""
        for stack in self.stacks:
            stack.num_tokens += num_new
            stack.num_rotated = [stack.num_tokens] * len(stack)
            stack.next_position.add_(num_new)
        self._raise_bound(num_new)

    def mark(self) -> Mark:
        """The present state, for `rollback`."""
        following = [stack.next_position.clone() for stack in self.stacks]
        counts = [stack.num_tokens for stack in self.stacks]
        known = len(self.ledger.frames)
        return Mark(counts, following, self.position_bound, known, self.has_frame_text)

    def rollback(self, mark: Mark) -> None:
        """Drop everything appended since `mark`; nothing older is touched."""
        for stack, count, following in zip(self.stacks, *mark[:2], strict=True):
            stack.num_tokens = count
            stack.next_position.copy_(following)
            stack.truncate(count)
        self.position_bound = mark.position_bound
        del self.ledger.frames[mark.num_frames :]
        self.has_frame_text = mark.has_frame_text

    @contextmanager
    def scratch(self) -> Iterator[None]:
        """Whatever is appended inside leaves again, also after an exception."""
        mark = self.mark()
        try:
            yield
        finally:
            self.rollback(mark)

    def replace(
        self, stack: LayerStack, rows: Tensor, keys: Tensor, values: Tensor, weights: Tensor
    ) -> None:
        """Put other content into visual tokens of a stack; see `LayerStack.replace`."""
        stack.refresh(self._angles)
        stack.replace(rows, keys, values, weights, self._angles)

    def text_first(self) -> None:
        """Move text of frames before their pictures, both in the order in which they came: where
        a token stands does not matter, its position moves along."""
        for stack in self.stacks if self.has_frame_text else []:
            picture = ~stack.origin.is_text[:, stack.visual]
            stack.gather(picture.int().argsort(dim=1, stable=True))

    def keep(
        self,
        kept: Sequence[Tensor],
        summaries: Sequence[Summary | None] | None = None,
        renumber: Renumber | None = None,
    ) -> None:
        """Keep these visual tokens of each layer, then renumber, then place the summaries.

        Args:
            kept: per stack (l, k) ascending indices in [0, num_visual). Where a summary comes, the
                last one only keeps its slot free.
            summaries: per stack the tokens that take these slots, at the next free position.
            renumber: closes the gaps in the positions of what is kept.

        Raises:
            ValueError: stacks of the same budget would end up with different numbers of tokens.
        """
        summaries = summaries or [None] * len(self.stacks)
        self._check_counts([rows.shape[1] for rows in kept])
        for stack, rows, summary in zip(self.stacks, kept, summaries, strict=True):
            if rows.shape[1] < stack.num_visual or summary is not None:
                stack.gather(rows)
        self.ledger.trim(min(stack.num_visual for stack in self.stacks))
        self._renumber(renumber, summaries)
        self._raise_bound(any(summary is not None for summary in summaries))

    def renumber(self, renumber: Renumber) -> None:
        """Close the gaps in the positions of every layer; keys and values do not change."""
        self._renumber(renumber, [None] * len(self.stacks))

    def measure_positions(self) -> float:
        """Make `position_bound` exact: one past the largest position. Waits for the devices."""
        self.position_bound = max(stack.next_position.max().item() for stack in self.stacks)
        return self.position_bound

    def check_integrity(self, max_positions: int | None = None) -> None:
        """Verify the contracts of design section 4. Waits for the device; for tests and debugging.

        Raises:
            MemoryIntegrityError: naming the contract, the layer and the values.
        """
        check_integrity(self.stacks, self.position_bound, max_positions)

    def refresh(self) -> None:
        """Bring all rotated views up to the tokens in use."""
        for stack in self.stacks:
            stack.refresh(self._angles)

    def _renumber(self, renumber: Renumber | None, summaries: Sequence[Summary | None]) -> None:
        for stack, summary in zip(self.stacks, summaries, strict=True):
            if renumber is not None:
                stack.renumber(renumber)
            stack.settle(summary, renumbered=renumber is not None)
        self.num_renumberings += renumber is not None

    def _check_counts(self, counts: list[int]) -> None:
        alike: dict[int, int] = {}
        for stack, count in zip(self.stacks, counts, strict=True):
            if alike.setdefault(stack.first_capacity, count) != count:
                raise ValueError(
                    f"every layer of a band must keep the same number of tokens, got {count} and "
                    f"{alike[stack.first_capacity]}"
                )

    def _raise_bound(self, advance: float) -> None:
        """Rounded like `next_position`: steps in time may be fractions, in fp32."""
        bound = torch.tensor(self.position_bound, dtype=self.stacks[0].positions.dtype)
        self.position_bound = (bound + advance).item()

    def _angles_of(self, num_new: int) -> LayerAngles:
        if self.num_layers * num_new > _BATCHED_ANGLES:
            return lambda layer: self._angles_of_layer(layer, num_new)
        tables = [stack.angles(self._angles, stack.following(num_new)) for stack in self.stacks]
        flat = [(cos[i], sin[i]) for cos, sin in tables for i in range(len(cos))]
        return lambda layer: flat[layer]

    def _angles_of_layer(self, layer: int, num_new: int) -> tuple[Tensor, Tensor]:
        stack, index = self._places[layer]
        return self._angles(stack.positions[index, :, stack.following(num_new)])


def fold_evicted(
    stack: LayerStack, layers: slice, kept: Tensor, *, weighted: bool, has_text: bool = True
) -> Summary:
    """Fold what `layers` of a stack do not keep; `kept` (l, k) as for `StreamMemory.keep`."""
    visual, origin = stack.visual, stack.origin
    keys, values = (
        states.narrow(0, layers.start, layers.stop - layers.start).narrow(
            2, visual.start, stack.num_visual
        )
        for states in (stack.keys, stack.values)
    )
    return fold(
        layers,
        keys,
        values,
        origin.seconds[layers, visual],
        origin.weights[layers, visual],
        kept[layers, :-1],
        weighted=weighted,
        has_text=has_text,
    )


def _runs(places: Sequence[_Home]) -> Iterator[tuple[range, _Home]]:
    """Neighbouring layers on the same device and of the same capacity."""
    first = 0
    for place, run in groupby(places):
        count = len(list(run))
        yield range(first, first + count), place
        first += count
