"""Tokens are kept, and beside them the frames that a question reads afresh without the past."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from hermes import StreamMemory
from hermes.policies import Recall
from hermes.policy_parts.reprefill_base import ReencodingPolicy
from hermes.policy_parts.state import PolicyState
from inference.decoder import Passage
from inference.kept.frames import KeptFrames
from inference.kept.tokens import KeptTokens
from inference.vision.visual_chunk import VisualChunk

_AFRESH = "afresh_"
"""How the names of these frames' state begin."""


class KeptReencoded(KeptTokens):
    """The memory, and frames that replace its newest tokens while a question is read."""

    policy: ReencodingPolicy

    def __init__(self, stream: Any, policy: ReencodingPolicy) -> None:
        super().__init__(stream, policy)
        self._frames = KeptFrames(stream, policy.afresh())
        self._fresh: StreamMemory | None = None
        """The prefix, and during a question these frames."""

    @property
    def vision_seconds(self) -> tuple[float, float]:
        """Of these frames."""
        return self._frames.vision_seconds

    @property
    def num_bytes(self) -> int:
        """The frames and where they are read included."""
        fresh = self._fresh.num_bytes if self._fresh else 0
        return super().num_bytes + self._frames.num_bytes + fresh

    def clear(self) -> None:
        """Forget the stream; buffers are reused."""
        super().clear()
        self._frames.clear()

    def look(self, frames: Tensor) -> VisualChunk:
        """Their features, and what they cost."""
        features: VisualChunk = self._stream.encode_features(frames)
        return features

    def open(
        self, frames: Tensor, times: Sequence[float] | Tensor, seen: VisualChunk | None
    ) -> tuple[VisualChunk, Passage]:
        """As `KeptTokens`; the frames are kept once they have been read."""
        self._frames.refuse_other_pixels((frames.shape[1], frames.shape[2]))
        seen = seen or self.look(frames)
        self._opened = frames, times, seen
        return super().open(frames, times, seen)

    def close(self) -> None:
        """As `KeptTokens`."""
        super().close()
        self._frames.receive(*self._opened)
        del self._opened

    def prepare(self, prompt: Tensor | None = None) -> tuple[StreamMemory, Recall | None]:
        """Read the frames after the prefix alone, and join both."""
        memory, rule = self._stream.memory, self._stream.rule
        if not self.policy.reencodes(memory):
            return memory, None
        fresh = self._fresh = self._fresh or self.read_prefix()
        with fresh.scratch():
            self._frames.read(fresh)
            fresh.text_first()
            return self.policy.joined(memory, fresh, rule), None

    def state(self) -> PolicyState:
        """That of the policy, and the frames."""
        frames = self._frames.state()
        return {**super().state(), **{_AFRESH + name: value for name, value in frames.items()}}

    def load_state(self, state: PolicyState, memory: StreamMemory) -> None:
        """As `Policy.load_state`."""
        frames = {name: value for name, value in state.items() if name.startswith(_AFRESH)}
        rest = {name: value for name, value in state.items() if name not in frames}
        super().load_state(rest, memory)
        own = {name.removeprefix(_AFRESH): value for name, value in frames.items()}
        self._frames.load_state(own, memory)
