"""What every way of keeping a stream has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from hermes import Policy, StreamMemory
from hermes.policies import Recall
from hermes.policy_parts.state import PolicyState
from hermes.store.ledger import Size
from inference.errors import FrameError
from inference.vision.visual_chunk import VisualChunk


class Kept(ABC):
    """What one stream keeps under a policy, and what a question is shown of it."""

    def __init__(self, stream: Any, policy: Policy) -> None:
        """`stream`: a `stream_parts.Stream`."""
        self._stream, self.policy = stream, policy

    @property
    def vision_seconds(self) -> tuple[float, float]:
        """Of the latest question: vision encoding spared by features that were kept, and spent."""
        return 0.0, 0.0

    @property
    @abstractmethod
    def position_advice(self) -> str | None:
        """What to do at the model's position limit; None where the error says it itself."""

    @property
    @abstractmethod
    def wants_features(self) -> bool:
        """Whether the next frames will pass the vision tower when they are received."""

    @property
    def num_bytes(self) -> int:
        """Bytes on the model's devices, beside the memory."""
        return self.policy.device_bytes

    def clear(self) -> None:
        """Forget the stream."""
        self.policy.reset()

    @abstractmethod
    def look(self, frames: Tensor) -> VisualChunk | None:
        """What `receive` makes of frames first, which needs nothing of the stream and may be done
        ahead of their turn; None where it would make nothing of them.

        Raises:
            FrameError: frames that no model of the family can see.
        """

    @abstractmethod
    def receive(
        self, frames: Tensor, times: Sequence[float] | Tensor, seen: VisualChunk | None = None
    ) -> VisualChunk:
        """Take in the next (f, H, W, 3) uint8 frames; `seen` are their features if they exist.

        Raises:
            FrameError: not one time per frame, not even one frame fits the budget, or the policy
                needs frames of one size and these have another; nothing is changed then.
            ContextLimitError: the model's position range is full.
        """

    @abstractmethod
    def prepare(self, prompt: Tensor | None = None) -> tuple[StreamMemory, Recall | None]:
        """What a question reads, and what fills its layers meanwhile; part of the first token.
        The caller opens `StreamMemory.scratch`, so that what was added leaves again.

        Args:
            prompt: (t,) token ids that will be read, for those that search by them.
        """

    @abstractmethod
    def frames_by_layer(self) -> list[np.ndarray]:
        """Frame number of every picture token that a question would be shown, layer by layer."""

    @abstractmethod
    def text_by_layer(self) -> np.ndarray:
        """(l,) int32 tokens of frames' texts, such as time stamps, that are held beside them."""

    @abstractmethod
    def state(self) -> PolicyState:
        """What belongs to the stream beside its memory; as `Policy.state`."""

    @abstractmethod
    def load_state(self, state: PolicyState, memory: StreamMemory) -> None:
        """As `Policy.load_state`."""

    def read_prefix(self, depth: int | None = None) -> StreamMemory:
        """A memory like that of the stream, or of the first `depth` layers of it, which has read
        nothing but the prompt before the first frame."""
        stream = self._stream
        memory: StreamMemory = stream.memory.sibling(stream.memory.num_tokens, depth=depth)
        ids = stream.processor.encode(stream.init_prompt)
        placement = stream.rule.text(len(ids), stream.device)
        embedded = stream.embed(ids)
        stream.decoder.forward(memory, embedded, placement, output="none", depth=depth)
        memory.close_prefix()
        return memory

    def _refuse_other_size(self, size: Size, before: Size | None) -> None:
        """One decision on frames whose size changes in mid-stream, before anything is stored."""
        if before is not None and size != before and self.policy.needs_equal_frames:
            raise FrameError(
                f"frames of {size[0]} x {size[1]} tokens after frames of {before[0]} x {before[1]}:"
                f" the policy {self.policy.config.policy!r} needs frames of one size for a whole "
                "stream; resize them, or begin a new stream (clear_cache)"
            )
