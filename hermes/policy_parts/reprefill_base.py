"""What re-prefill baselines share: they remember frames, not keys and values.

The engine (`inference.kept.frames`) keeps the frames that `retain` names and, when a question
comes, reads those that `pick` names afresh, as one chunk after the prefix. All of it is pure
arithmetic on frame numbers, unless a policy looks at features (`absorb`). A step is what shares its
tokens: one frame, or the frames of a temporal patch.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from hermes.memory import StreamMemory
from hermes.policy_parts.base import Policy
from hermes.policy_parts.options import check_count, check_flag
from hermes.positions import PositionRule
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
    keeps: ClassVar[str] = "frames"
    reprefills: ClassVar[bool] = True
    needs_equal_frames: ClassVar[bool] = True
    works_at_question_time: ClassVar[bool] = True
    is_blind: ClassVar[bool] = False
    """Whether questions are shown black frames in the place of those that were watched."""
    Options: ClassVar[type[Any]] = ReprefillOptions

    @property
    def layers_per_frame(self) -> int:
        """None until a question comes."""
        return 0

    def num_steps(self, tokens_per_step: int, frames_per_step: int) -> int:
        """Steps a question is shown; 0 if the budget holds none."""
        if self.options.num_frames is None:
            return self.config.kv_size // tokens_per_step
        return -(-self.options.num_frames // frames_per_step)

    @abstractmethod
    def retain(self, numbers: list[int], count: int) -> list[int]:
        """Indices into ascending frame numbers that stay; bounded by a multiple of `count`."""

    def absorb(
        self, numbers: list[int], contents: Sequence[Tensor], count: int
    ) -> tuple[list[int], list[Tensor]]:
        """What stays of the retained steps and the new ones behind them: indices as `retain` says,
        and their contents, which differ from the given ones where something was merged.

        Args:
            contents: (t, e) features of each, of all depths side by side; or frames, see
                `cache_features`.
        """
        kept = self.retain(numbers, count)
        return kept, [contents[index] for index in kept]

    @abstractmethod
    def pick(self, numbers: list[int], count: int) -> list[int]:
        """Ascending indices of at most `count` retained frames to show to a question."""

    def select(self, stack: LayerStack, attention: Tensor | None) -> Tensor:
        """Never called: the memory holds no visual tokens between questions."""
        raise AssertionError("a re-prefill policy evicts no tokens")


class ReencodingPolicy(Policy):
    """Keeps tokens, and beside them some frames that a question reads afresh, without the past."""

    keeps: ClassVar[str] = "tokens and frames"
    works_at_question_time: ClassVar[bool] = True

    @abstractmethod
    def afresh(self) -> ReprefillPolicy:
        """Which frames those are, for one stream."""

    @abstractmethod
    def reencodes(self, memory: StreamMemory) -> bool:
        """Whether a question needs them, or reads the memory as it is."""

    @abstractmethod
    def joined(self, memory: StreamMemory, fresh: StreamMemory, rule: PositionRule) -> StreamMemory:
        """What a question reads.

        Args:
            memory: that of the stream, not to be changed.
            fresh: the prefix and the frames that were read after it, texts of frames first; only
                valid during this call.
        """
