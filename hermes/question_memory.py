"""The memory that one question reads when a policy recalls: prefix, then chosen tokens.

It is filled layer by layer while the question is read, because what a layer recalls depends on the
question's queries there. The stream's own memory stays as it is.

Shapes: n tokens recalled per layer, a position axes, t tokens per frame.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hermes.memory import StreamMemory
from hermes.policies.frames import patch_offsets
from hermes.positions import PositionRule

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
        memory = self._memory
        memory.clear()
        for own, theirs in zip(memory.layers, stream.layers, strict=True):
            own.keys[:, :prefix] = theirs.keys[:, :prefix]
            own.values[:, :prefix] = theirs.values[:, :prefix]
        memory.positions[..., :prefix] = stream.positions[..., :prefix]
        memory.provenance.write(slice(0, prefix), None)
        memory.num_prefix, memory.num_tokens = prefix, prefix + num_tokens
        self._rule, self._offsets = rule, patch_offsets(stream, length)
        self._settle_next_position(num_tokens, frames)
        return memory

    def slots(self, layer: int, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Keys and values (g, stop - start, d) of recalled tokens, to be written to."""
        assert self._memory is not None
        first = self._memory.num_prefix
        buffers = self._memory.layers[layer]
        used = slice(first + start, first + stop)
        return buffers.keys[:, used], buffers.values[:, used]

    def place(self, layer: int, frame: Tensor, patch: Tensor) -> None:
        """Give the n tokens of a layer gapless positions in the order of time.

        Args:
            frame, patch: (n,) int64 on the home device, in the order of the slots.
        """
        memory = self._memory
        assert memory is not None
        used = slice(memory.num_prefix, memory.num_tokens)
        order = (frame * self._offsets.shape[1] + patch).argsort()
        positions = torch.empty_like(memory.positions[layer, :, used])
        positions[:, order] = self._gapless(frame[order], patch[order])
        memory.positions[layer, :, used] = positions
        memory.provenance.frame[layer, used] = frame
        memory.provenance.patch[layer, used] = patch

    def _gapless(self, frame: Tensor, patch: Tensor) -> Tensor:
        memory = self._memory
        assert memory is not None
        prefix = memory.num_prefix
        places = self._offsets[:, patch]
        places[0] = frame.to(places)
        everything = torch.cat((memory.positions[0, :, :prefix], places), dim=1)
        return self._rule.renumber(everything, prefix)[:, prefix:]

    def _settle_next_position(self, num_tokens: int, frames: int) -> None:
        memory = self._memory
        assert memory is not None
        count = torch.arange(num_tokens, device=memory.positions.device)
        widest = self._gapless(count.clamp(max=frames - 1), count % self._offsets.shape[1])
        memory.next_position.fill_(widest.max() + 1)
        memory.measure_positions()
