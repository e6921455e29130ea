"""The last N frames at question time and nothing else: SimpleStream (arXiv 2604.02317).

There N is 2, 4 or 8 at one frame per second. Deviations: the frames form one visual run after the
prefix (there every frame is an image block of its own), and N follows from kv_size unless the
option `num_frames` sets it, so that budgets compare.
"""

from __future__ import annotations

from hermes.policy_parts.reprefill_base import ReprefillPolicy


class LastFrames(ReprefillPolicy):
    """The strongest simple baseline for what is happening now."""

    def retain(self, numbers: list[int], count: int) -> list[int]:
        """The newest."""
        return list(range(max(0, len(numbers) - count), len(numbers)))

    def pick(self, numbers: list[int], count: int) -> list[int]:
        """All that are retained."""
        return self.retain(numbers, count)
