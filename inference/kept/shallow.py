"""Frames are kept and indexed by the first layers; a question reads those it finds afresh.

Shapes: q tokens of a chunk, t visual tokens of a step, g key heads, d head width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hermes import StreamMemory
from hermes.policies import Recall
from hermes.policies.shallow_stream import ShallowStream
from hermes.policy_parts.state import PolicyState
from hermes.store.provenance import NO_PATCH
from inference.kept.frames import KeptFrames, Step
from inference.vision.visual_chunk import VisualChunk


class KeptShallow(KeptFrames):
    """As `KeptFrames`; which of them a question reads follows from its prompt."""

    policy: ShallowStream
    _shallow: StreamMemory | None = None
    """The first layers of the prefix; of more only while something is read."""

    @property
    def num_bytes(self) -> int:
        """Where chunks are read; what is retained is in host memory."""
        return self.policy.device_bytes + (self._shallow.num_bytes if self._shallow else 0)

    def clear(self) -> None:
        """Forget the stream; buffers are reused."""
        super().clear()
        self._picked: list[int] | None = None
        """Frame numbers that the latest question has read."""

    def receive(
        self,
        frames: Tensor,
        times: Sequence[float] | Tensor,
        seen: VisualChunk | None = None,
    ) -> VisualChunk:
        """As `KeptFrames`, through the first layers."""
        self.refuse_other_pixels((frames.shape[1], frames.shape[2]))
        seen = seen or self._stream.encode_features(frames)
        indexed = self._read_first_layers(seen, frames, times)
        chunk = super().receive(frames, times, seen)
        retained = {step.number for step in self._steps}
        for number in sorted(retained & indexed.keys()):
            self.policy.index(number, indexed[number])
        self._picked = None
        return chunk

    def prepare(self, prompt: Tensor | None = None) -> tuple[StreamMemory, Recall | None]:
        """Search, then as `KeptFrames`."""
        self._picked = None
        if prompt is not None and self._steps and self._size is not None:
            numbers = [step.number for step in self._steps]
            count = self._count(self._size, self._steps[-1].moment)
            scaling = [self._stream.decoder.scaling(layer) for layer in range(self.policy.depth)]
            found = self.policy.search(numbers, count, self._queries(prompt), scaling)
            self._picked = [numbers[index] for index in found]
        return super().prepare(prompt)

    def chosen(self) -> list[Step]:
        """What the latest question has read; the newest, if none was asked since."""
        if self._picked is None:
            return super().chosen()
        picked = set(self._picked)
        return [step for step in self._steps if step.number in picked]

    def load_state(self, state: PolicyState, memory: StreamMemory) -> None:
        """As `Policy.load_state`; every frame has its keys."""
        super().load_state(state, memory)
        self.policy.refuse_gaps([step.number for step in self._steps])

    def _queries(self, prompt: Tensor) -> list[Tensor]:
        """(h, d) per shallow layer, un-rotated, of the prompt's last token."""
        stream, shallow = self._stream, self._with_prefix()
        found: list[Tensor] = []
        with shallow.scratch():
            stream.decoder.forward(
                shallow,
                stream.embed(prompt),
                stream.rule.text(len(prompt), stream.device),
                output="none",
                depth=self.policy.depth,
                recall=lambda layer, queries: found.append(queries[:, -1]),
            )
        return found

    def _read_first_layers(
        self, chunk: VisualChunk, frames: Tensor, times: Sequence[float] | Tensor
    ) -> dict[int, Tensor]:
        """Frame number -> (depth, g, t, d) un-rotated keys of its picture."""
        stream, shallow, length = self._stream, self._with_prefix(), chunk.tokens_per_step
        first, count = stream.total_processed_frames, len(frames)
        chunk = stream.with_text(chunk, chunk.moments(count, times))
        origin = chunk.provenance(first, count, times)
        with shallow.scratch():
            stream.decoder.forward(
                shallow,
                chunk.features,
                chunk.placement,
                origin,
                output="none",
                depth=self.policy.depth,
                added=chunk.added,
            )
            keys = [
                stack.keys[:, :, stack.visual].to(stream.device, chunk.features.dtype)
                for stack in shallow.stacks
            ]
        starts = (origin.patch != NO_PATCH).nonzero().flatten()[::length].tolist()
        own = torch.cat(keys)
        steps = [own[:, :, start : start + length] for start in starts]
        return dict(zip(origin.frame[starts].tolist(), steps, strict=True))

    def _with_prefix(self) -> StreamMemory:
        if self._shallow is None:
            self._shallow = self.read_prefix(self.policy.depth)
        return self._shallow
