"""The last frames and frames evenly spread over the time before them, read afresh per question.

The best of the simple samplers on VSAS-Bench (section 4.7 of the project's survey). Half of the
frames are recent unless the option `recent_share` says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

from hermes.policies.uniform_frames import SLACK, evenly, thin
from hermes.policy_parts.options import check_share
from hermes.policy_parts.reprefill_base import ReprefillOptions, ReprefillPolicy


@dataclass(frozen=True)
class UniformRecentOptions(ReprefillOptions):
    """How many of the frames are recent."""

    recent_share: float = 0.5
    """Share of the shown frames that are simply the last ones; at least one is."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share("recent_share", self.recent_share)


class UniformRecent(ReprefillPolicy):
    """The present in full and the past thinly."""

    Options = UniformRecentOptions

    def retain(self, numbers: list[int], count: int) -> list[int]:
        """The newest, and a thinned set of older ones."""
        older, newest = self._split(numbers, count)
        return thin(older, SLACK * max(1, count - newest)) + self._newest(numbers, newest)

    def pick(self, numbers: list[int], count: int) -> list[int]:
        """Both parts in time order."""
        older, newest = self._split(numbers, count)
        past = evenly(older, count - newest) if count > newest else []
        return past + self._newest(numbers, newest)

    def _split(self, numbers: list[int], count: int) -> tuple[list[int], int]:
        newest = max(1, round(self.options.recent_share * count))
        return numbers[: max(0, len(numbers) - newest)], newest

    def _newest(self, numbers: list[int], newest: int) -> list[int]:
        return list(range(max(0, len(numbers) - newest), len(numbers)))
