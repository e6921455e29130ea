"""Whole frames in host memory, with the mean key of each on the device for finding them again.

Shapes: l layers, g key heads, h query heads, t tokens of a frame, d head width, F stored frames.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hermes.memory import StreamMemory
from hermes.policy_parts.archive.stored_parts import checked, pinned
from hermes.policy_parts.state import PolicyState, check_names, frame_numbers
from hermes.store.layer_stack import LayerStack
from hermes.store.quantise import Quantised, dequantise, quantise
from hermes.store.quantised_states import States

ON_FULL = ("oldest", "thin")
_OWN = "archive"
"""How the names of the store's state begin."""

Shapes = list[tuple[torch.Size, torch.dtype]]


@dataclass(frozen=True, eq=False)
class StoredFrame:
    """One frame, all layers."""

    number: int
    slot: int
    """Row of its mean keys in the index."""
    states: tuple[Tensor, ...]
    """Keys and values (2, l, g, t, d) un-rotated; quantised: int8 levels and fp32 scales."""

    @property
    def num_bytes(self) -> int:
        """Bytes in host memory."""
        return sum(part.nbytes for part in self.states)


class FrameStore:
    """A queue of frames that never holds more than `byte_limit` bytes of host memory.

    When it is full, `on_full` says what leaves: the `oldest` frame, or (`thin`) the one whose
    neighbours in time are closest. Host memory is pinned where the device is CUDA.
    """

    def __init__(
        self, byte_limit: int | None = None, *, quantised: bool = False, on_full: str = "oldest"
    ) -> None:
        """`byte_limit` None is no limit."""
        self._byte_limit, self._quantised, self._on_full = byte_limit, quantised, on_full
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.frames: list[StoredFrame] = []
        """In time order."""
        self.host_bytes = 0
        self._index: list[Tensor] = []
        self._free: list[int] = []
        self._placed = True
        """False for what was loaded and is not yet where the layers are."""

    @property
    def device_bytes(self) -> int:
        """Bytes of the index."""
        return sum(table.nbytes for table in self._index)

    def add(self, memory: StreamMemory, start: int, numbers: list[int], length: int) -> None:
        """Copy whole frames of the memory, `length` tokens each, from visual token `start` on.

        Args:
            start: the same in every layer.
            numbers: ascending frame numbers, later than what is stored.

        Raises:
            ValueError: a single frame exceeds the byte limit.
        """
        if not numbers:
            return
        self.place(memory)
        shapes = self._shapes(memory, length)
        new = {self._open(memory, number, shapes): turn for turn, number in enumerate(numbers)}
        stored = [(frame, new[frame]) for frame in self.frames if frame in new]
        first = memory.num_prefix + start
        rows = slice(first, first + len(numbers) * length)
        for stack, index in zip(memory.stacks, self._index, strict=True):
            self._copy_stack(stack, index, rows, length, stored)

    @staticmethod
    def part_of(state: PolicyState) -> PolicyState:
        """What `state` has contributed to a policy's state."""
        return {name: value for name, value in state.items() if name.startswith(_OWN)}

    def state(self) -> PolicyState:
        """Frame numbers, states of each frame, and the index in the order of the frames."""
        slots = [frame.slot for frame in self.frames]
        state: PolicyState = {f"{_OWN}_numbers": [frame.number for frame in self.frames]}
        if self.frames:
            state[f"{_OWN}_index"] = torch.cat([table[:, slots].cpu() for table in self._index])
        for turn, frame in enumerate(self.frames):
            parts = zip(_part_names(turn, len(frame.states)), frame.states, strict=True)
            state.update(parts)
        return state

    def load_state(self, state: PolicyState, memory: StreamMemory) -> None:
        """Fill an empty store; as `Policy.load_state`."""
        numbers = frame_numbers(state, f"{_OWN}_numbers")
        names = [_part_names(turn, 1 + self._quantised) for turn in range(len(numbers))]
        index = [f"{_OWN}_index"] if numbers else []
        check_names(state, f"{_OWN}_numbers", *index, *(part for parts in names for part in parts))
        for slot, (number, parts) in enumerate(zip(numbers, names, strict=True)):
            self._load_frame(memory, StoredFrame(number, slot, tuple(state[p] for p in parts)))
        if numbers:
            keys = memory.stacks[0].keys
            shape = (memory.num_layers, len(numbers), keys.shape[1] * keys.shape[3])
            self._index = [checked(index[0], state[index[0]], torch.Size(shape), torch.float32)]
            self._placed = False

    def place(self, memory: StreamMemory) -> None:
        """Bring what was loaded to the devices of the layers, and into pinned memory."""
        if self._placed:
            return
        (table,) = self._index
        self._index = [
            table[stack.layers.start : stack.layers.stop].to(stack.device)
            for stack in memory.stacks
        ]
        if memory.device.type == "cuda":
            self.frames = [
                replace(frame, states=tuple(map(pinned, frame.states))) for frame in self.frames
            ]
        self._placed = True

    def scores(self, layer: int, query: Tensor) -> Tensor:
        """(F,) fp32: mean key of every frame times the (g * d,) query."""
        table = self._table(layer)
        slots = torch.tensor([frame.slot for frame in self.frames], device=table.device)
        return table[slots] @ query

    def read(self, index: int, layer: int, keys: States, values: States) -> None:
        """Write one frame's keys and values of one layer into (g, t, d) tensors."""
        for which, target in enumerate((keys, values)):
            parts = [
                part[which, layer].to(target.device, non_blocking=True)
                for part in self.frames[index].states
            ]
            target.copy_(dequantise(Quantised(*parts)) if self._quantised else parts[0])

    def _load_frame(self, memory: StreamMemory, frame: StoredFrame) -> None:
        length = frame.states[0].shape[3] if frame.states[0].dim() == 5 else 0
        names = _part_names(frame.slot, len(frame.states))
        shapes = self._shapes(memory, length)
        states = tuple(
            checked(name, part, *form)
            for name, part, form in zip(names, frame.states, shapes, strict=True)
        )
        self.frames.append(replace(frame, states=states))
        self.host_bytes += self.frames[-1].num_bytes
        if self._byte_limit is not None and self.host_bytes > self._byte_limit:
            raise ValueError(f"the archive exceeds its limit of {self._byte_limit} bytes")

    def _open(self, memory: StreamMemory, number: int, shapes: Shapes) -> StoredFrame:
        """Room for a frame, not yet filled; it may leave again for later ones of its chunk."""
        needed = sum(shape.numel() * dtype.itemsize for shape, dtype in shapes)
        self._make_room(needed)
        is_pinned = memory.device.type == "cuda"
        states = tuple(
            torch.empty(shape, dtype=dtype, pin_memory=is_pinned) for shape, dtype in shapes
        )
        frame = StoredFrame(number, self._take_slot(memory), states)
        self.frames.append(frame)
        self.host_bytes += needed
        return frame

    def _table(self, layer: int) -> Tensor:
        """(slots, g * d) mean keys of a layer."""
        for index in self._index:
            if layer < len(index):
                return index[layer]
            layer -= len(index)
        raise IndexError(layer)

    def _copy_stack(
        self,
        stack: LayerStack,
        index: Tensor,
        rows: slice,
        length: int,
        stored: list[tuple[StoredFrame, int]],
    ) -> None:
        """One copy per frame, not per layer."""
        layers = slice(stack.layers.start, stack.layers.stop)
        means = stack.keys[:, :, rows].float().unflatten(2, (-1, length)).mean(dim=3)
        for frame, turn in stored:
            index[:, frame.slot] = means[:, :, turn].flatten(1)
        for which, source in enumerate((stack.keys[:, :, rows], stack.values[:, :, rows])):
            parts = quantise(source) if self._quantised else (source,)
            for frame, turn in stored:
                mine = slice(turn * length, (turn + 1) * length)
                for part, target in zip(parts, frame.states, strict=True):
                    target[which, layers].copy_(part[:, :, mine], non_blocking=True)

    def _shapes(self, memory: StreamMemory, length: int) -> Shapes:
        keys = memory.stacks[0].keys
        shape = torch.Size((2, memory.num_layers, keys.shape[1], length, keys.shape[3]))
        if not self._quantised:
            return [(shape, keys.dtype)]
        return [(shape, torch.int8), (torch.Size((*shape[:-1], 1)), torch.float32)]

    def _make_room(self, needed: int) -> None:
        if self._byte_limit is None:
            return
        if needed > self._byte_limit:
            raise ValueError(
                f"one frame takes {needed} bytes of host memory, the limit is {self._byte_limit}: "
                "raise host_bytes_limit or take a policy without a host store"
            )
        while self.host_bytes + needed > self._byte_limit:
            gone = self.frames.pop(self._least_missed())
            self._free.append(gone.slot)
            self.host_bytes -= gone.num_bytes

    def _least_missed(self) -> int:
        if self._on_full == "oldest" or len(self.frames) < 3:
            return 0
        numbers = [frame.number for frame in self.frames]
        gaps = [after - before for before, after in zip(numbers, numbers[2:], strict=False)]
        return gaps.index(min(gaps)) + 1

    def _take_slot(self, memory: StreamMemory) -> int:
        if not self._free:
            held = len(self.frames)
            self._free = list(range(held, max(64, held * 3 // 2)))[::-1]
            self._grow(memory, held + len(self._free))
        return self._free.pop()

    def _grow(self, memory: StreamMemory, capacity: int) -> None:
        grown = []
        for turn, stack in enumerate(memory.stacks):
            layers, heads, _, width = stack.keys.shape
            table = torch.empty(
                layers, capacity, heads * width, dtype=torch.float32, device=stack.device
            )
            if self._index:
                table[:, : self._index[turn].shape[1]] = self._index[turn]
            grown.append(table)
        self._index = grown


def mean_query(queries: Tensor, num_groups: int) -> Tensor:
    """(h, q, d) un-rotated queries -> (g * d,) fp32, so that its product with concatenated key
    heads equals that of concatenated query heads with each key head repeated for its group."""
    num_heads, _, width = queries.shape
    mean = queries.float().mean(dim=1)
    return mean.view(num_groups, num_heads // num_groups, width).sum(dim=1).flatten()


def _part_names(turn: int, count: int) -> list[str]:
    """Names in the state of the tensors of a frame."""
    return [f"{_OWN}_{turn}_{part}" for part in ("states", "scales")[:count]]
