"""The memory that one question reads when a policy recalls: prefix, then chosen tokens.

It is filled layer by layer while the question is read, because what a layer recalls depends on the
question's queries there. The stream's own memory stays as it is.

Shapes: n tokens recalled per layer, a position axes, t tokens per frame.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hermes.memory import StreamMemory
from hermes.policy_parts.frames import patch_offsets
from hermes.positions import PositionRule
from hermes.store.layer_stack import LayerStack
from hermes.store.quantised_states import States

RESERVE_TOKENS = 1024
"""Room for a question and its answer; longer ones make the buffers grow."""


class QuestionMemory:
    """A reusable temporary memory. `open` settles the counts, `place` the tokens of a layer."""

    def __init__(self) -> None:
        self._memory: StreamMemory | None = None

    @property
    def num_bytes(self) -> int:
        """Bytes allocated."""
        return self._memory.num_bytes if self._memory else 0

    def open(
        self, stream: StreamMemory, rule: PositionRule, length: int, num_tokens: int, frames: int
    ) -> StreamMemory:
        """Copy the prefix and make room for `num_tokens` more, of at most `frames` frames.

        Args:
            length: t.

        Returns:
            The memory, whose layers still have to be filled. The next position is the same in all
            layers: past the largest that so many frames can reach.
        """
        prefix = stream.num_prefix
        needed = prefix + num_tokens + RESERVE_TOKENS
        if self._memory is None or self._memory.capacity < needed:
            self._memory = stream.sibling(needed)
            self._memory.filled_late = True
        memory = self._memory
        memory.clear()
        for own, theirs in zip(memory.stacks, stream.stacks, strict=True):
            own.keys[:, :, :prefix] = theirs.keys[:, :, :prefix]
            own.values[:, :, :prefix] = theirs.values[:, :, :prefix]
            own.positions[..., :prefix] = theirs.positions[..., :prefix]
            own.origin.write_text(slice(0, prefix))
        memory.hold(prefix, prefix + num_tokens)
        self._rule, self._offsets = rule, patch_offsets(stream, length)
        self._settle_next_position(num_tokens, frames)
        return memory

    def slots(self, layer: int, start: int, stop: int) -> tuple[States, States]:
        """Keys and values (g, stop - start, d) of recalled tokens, to be written to."""
        assert self._memory is not None
        stack, index = self._memory.place_of(layer)
        keys, values, _ = stack[index]
        first, count = stack.num_prefix + start, stop - start
        return keys.narrow(1, first, count), values.narrow(1, first, count)

    def place(self, layer: int, frame: Tensor, patch: Tensor) -> None:
        """Give the n tokens of a layer gapless positions in the order of time.

        Args:
            frame, patch: (n,) int64 on the layer's device, in the order of the slots.
        """
        assert self._memory is not None
        stack, index = self._memory.place_of(layer)
        order = (frame * self._offsets.shape[1] + patch).argsort()
        positions = torch.empty_like(stack.positions[index, :, stack.visual])
        positions[:, order] = self._gapless(stack, frame[order], patch[order])
        stack.positions[index, :, stack.visual] = positions
        stack.origin.frame[index, stack.visual] = frame
        stack.origin.patch[index, stack.visual] = patch

    def _gapless(self, stack: LayerStack, frame: Tensor, patch: Tensor) -> Tensor:
        prefix = stack.num_prefix
        places = self._offsets.to(stack.device)[:, patch]
        places[0] = frame.to(places.dtype)
        everything = torch.cat((stack.positions[0, :, :prefix], places), dim=1)
        return self._rule.renumber(everything[None], prefix)[0, :, prefix:]

    def _settle_next_position(self, num_tokens: int, frames: int) -> None:
        memory = self._memory
        assert memory is not None
        first, length = memory.stacks[0], self._offsets.shape[1]
        count = torch.arange(num_tokens, device=memory.device)
        widest = self._gapless(first, count.clamp(max=frames - 1), count % length).max() + 1
        for stack in memory.stacks:
            stack.next_position.copy_(widest)
        memory.measure_positions()
