"""Tokens are kept: chunks are read into the memory, and the policy says what stays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from hermes import StreamMemory, ensure_positions
from hermes.policies import Recall
from hermes.policy_parts.state import PolicyState
from hermes.store.provenance import NO_PATCH
from inference.decoder import Passage
from inference.errors import FrameError, position_advice
from inference.kept.kept import Kept
from inference.vision.visual_chunk import VisualChunk


class KeptTokens(Kept):
    """The memory itself."""

    wants_features = True
    _warned = False

    @property
    def position_advice(self) -> str:
        """Nothing that is done already."""
        return position_advice(self.policy.evicts)

    def look(self, frames: Tensor) -> VisualChunk:
        """Their features."""
        chunk: VisualChunk = self._stream.see(frames)
        return chunk

    def receive(
        self, frames: Tensor, times: Sequence[float] | Tensor, seen: VisualChunk | None = None
    ) -> VisualChunk:
        """Read them as one chunk."""
        chunk, passage = self.open(frames, times, seen)
        self._stream.decoder.forward(**passage._asdict(), output="none")
        self.close()
        return chunk

    def open(
        self, frames: Tensor, times: Sequence[float] | Tensor, seen: VisualChunk | None
    ) -> tuple[VisualChunk, Passage]:
        """What is read of them, checked as `receive` says, the memory being ready for it."""
        stream, memory = self._stream, self._stream.memory
        chunk = seen or self.look(frames)
        known = memory.ledger.frames
        self._refuse_other_size(chunk.size, known[-1].size if known else None)
        chunk = stream.with_text(chunk, chunk.moments(len(frames), times))
        self._check_budget(chunk, len(frames))
        ensure_positions(memory, stream.rule, stream.max_positions, chunk.placement.advance)
        return chunk, Passage(
            memory,
            chunk.features,
            chunk.placement,
            chunk.provenance(stream.total_processed_frames, len(frames), times),
            self.policy.observer(memory, chunk.placement.num_tokens),
            chunk.added,
        )

    def close(self) -> None:
        """After the passage has been read."""
        if self.policy.evicts:
            self._stream.memory.text_first()

    def prepare(self, prompt: Tensor | None = None) -> tuple[StreamMemory, Recall | None]:
        """What the policy recalls."""
        return self.policy.recall(self._stream.memory, self._stream.rule)

    def frames_by_layer(self) -> list[np.ndarray]:
        """Of what is in the memory."""
        return [
            frames[patches != NO_PATCH] for frames, patches in zip(*self._origin(), strict=True)
        ]

    def text_by_layer(self) -> np.ndarray:
        """Of what is in the memory."""
        _, patches = self._origin()
        return np.array([(row == NO_PATCH).sum() for row in patches], np.int32)

    def _origin(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Frame and patch of every visual token, layer by layer."""
        frames, patches = [], []
        for stack in self._stream.memory.stacks:
            frames += list(stack.origin.frame[:, stack.visual].cpu().numpy())
            patches += list(stack.origin.patch[:, stack.visual].cpu().numpy())
        return frames, patches

    def state(self) -> PolicyState:
        """That of the policy."""
        return self.policy.state()

    def load_state(self, state: PolicyState, memory: StreamMemory) -> None:
        """That of the policy."""
        self.policy.load_state(state, memory)

    def _check_budget(self, chunk: VisualChunk, num_frames: int) -> None:
        smallest, kv_size = min(self.policy.budgets), self.policy.config.kv_size
        if self.policy.evicts and smallest < chunk.largest_step <= kv_size:
            raise FrameError(
                f"one frame needs {chunk.largest_step} visual tokens, but budget_weights leave "
                f"{smallest} of the {kv_size} of kv_size to some layers: raise kv_size or the "
                "smallest weight"
            )
        if self.policy.evicts and not chunk.fits(smallest) and not self._warned:
            self._warned = True
            chunk.warn_oversized(num_frames, smallest)
