"""What re-prefill baselines share: they remember frames, not keys and values.

The engine (`inference.kept.frames`) keeps the frames that `retain` names and, when a question
comes, reads those that `pick` names afresh, as one chunk after the prefix. All of it is pure
arithmetic on frame numbers. A step is what shares its tokens: one frame, or the frames of a
temporal patch.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from hermes.policy_parts.base import Policy
from hermes.policy_parts.options import check_count, check_flag
from hermes.store.layer_stack import LayerStack


@dataclass(frozen=True)
class ReprefillOptions:
    """Options of every re-prefill baseline."""

    num_frames: int | None = None
    """Frames shown to a question; None: as many as have kv_size tokens together."""
    cache_features: bool = True
    """Keep the vision tower's features. False keeps the frames and encodes them anew for every
    question, as the unmodified model would; the time is then part of the first token."""

    def __post_init__(self) -> None:
        if self.num_frames is not None:
            check_count("num_frames", self.num_frames)
        check_flag("cache_features", self.cache_features)


class ReprefillPolicy(Policy):
    """Chooses frames instead of tokens."""

    evicts: ClassVar[bool] = False
    reprefills: ClassVar[bool] = True
    needs_equal_frames: ClassVar[bool] = True
    works_at_question_time: ClassVar[bool] = True
    is_blind: ClassVar[bool] = False
    """Whether questions are shown black frames in the place of those that were watched."""
    Options = ReprefillOptions

    def num_steps(self, tokens_per_step: int, frames_per_step: int) -> int:
        """Steps a question is shown; 0 if the budget holds none."""
        if self.options.num_frames is None:
            return self.config.kv_size // tokens_per_step
        return -(-self.options.num_frames // frames_per_step)

    @abstractmethod
    def retain(self, numbers: list[int], count: int) -> list[int]:
        """Indices into ascending frame numbers that stay; bounded by a multiple of `count`."""

    @abstractmethod
    def pick(self, numbers: list[int], count: int) -> list[int]:
        """Ascending indices of at most `count` retained frames to show to a question."""

    def select(self, stack: LayerStack, attention: Tensor | None) -> Tensor:
        """Never called: the memory holds no visual tokens between questions."""
        raise AssertionError("a re-prefill policy evicts no tokens")
