"""What policies share that bring frames back from host memory when a question comes."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

from torch import Tensor

from hermes.memory import StreamMemory
from hermes.policy_parts.archive.frame_store import FrameStore
from hermes.policy_parts.archive.question_memory import QuestionMemory
from hermes.policy_parts.base import Policy, Recall
from hermes.policy_parts.state import PolicyState
from hermes.positions import PositionRule


class Room(NamedTuple):
    """What a question's memory has to hold."""

    tokens_per_frame: int
    num_tokens: int
    """Visual tokens per layer."""
    num_frames: int
    """Most distinct frames in a layer; they get gapless positions."""


class ArchivePolicy(Policy):
    """Frames that leave go to `store`; `recall` opens a memory of its own for each question."""

    works_at_question_time: ClassVar[bool] = True

    def open_archive(self, host_bytes_limit: int | None, **store_options: Any) -> None:
        """Start empty."""
        self.store = FrameStore(host_bytes_limit, **store_options)
        self._question = QuestionMemory()

    def state(self) -> PolicyState:
        """The archive, beside what a policy adds; the question's memory lives for one question."""
        return {**super().state(), **self.store.state()}

    def load_state(self, state: PolicyState, memory: StreamMemory) -> None:
        """The archive takes what is its own."""
        self.store.load_state(FrameStore.part_of(state), memory)
        rest = {name: state[name] for name in set(state) - set(FrameStore.part_of(state))}
        super().load_state(rest, memory)

    def recall(
        self, memory: StreamMemory, rule: PositionRule
    ) -> tuple[StreamMemory, Recall | None]:
        """Nothing to do as long as nothing was evicted, or nothing can come back."""
        self.store.place(memory)
        plan = self.plan(memory) if self.store.frames else None
        if plan is None:
            return memory, None
        active = self._question.open(memory, rule, *self.room(memory, plan))
        return active, lambda layer, queries: self.fill(memory, plan, layer, queries)

    def plan(self, memory: StreamMemory) -> Any | None:
        """Counts that hold for all layers of one question; None if nothing comes back."""
        raise NotImplementedError

    def room(self, memory: StreamMemory, plan: Any) -> Room:
        """The size of the question's memory under a plan."""
        raise NotImplementedError

    def fill(self, memory: StreamMemory, plan: Any, layer: int, queries: Tensor) -> None:
        """Write what the question, by its (h, q, d) un-rotated `queries`, sees in a layer."""
        raise NotImplementedError

    @property
    def device_bytes(self) -> int:
        """Index of mean keys and the question's memory."""
        return self.store.device_bytes + self._question.num_bytes

    @property
    def host_bytes(self) -> int:
        """Archived frames."""
        return self.store.host_bytes
