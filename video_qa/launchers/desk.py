"""Which video is handed out next, and what becomes of one whose worker died."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable

from video_qa.launchers.launcher import Unit

MAX_DEATHS = 3
"""So often in a row a video may take its worker with it without one answer more."""


class Desk:
    """Hands out videos one by one until each is done or given up."""

    def __init__(self, units: Iterable[Unit]) -> None:
        self._waiting = deque(units)
        self._deaths: Counter[int] = Counter()
        self._num_out = 0
        self.given_up: list[Unit] = []

    @property
    def is_open(self) -> bool:
        """Whether something waits or is being watched."""
        return bool(self._waiting) or self._num_out > 0

    @property
    def num_waiting(self) -> int:
        """Videos that nobody watches yet."""
        return len(self._waiting)

    def take(self) -> Unit | None:
        """The next video; None if there is none now (one may come back later)."""
        if not self._waiting:
            return None
        self._num_out += 1
        return self._waiting.popleft()

    def done(self, unit: Unit) -> None:
        """The video has been watched to its end."""
        self._num_out -= 1

    def lost(self, unit: Unit, has_answered: bool) -> bool:
        """Its worker is gone: the video goes to the front again, or is given up.

        Args:
            has_answered: an answer came since it was handed out, so it is not to blame.

        Returns:
            Whether it will be handed out again.
        """
        self._num_out -= 1
        index = unit.video.index
        self._deaths[index] = 1 if has_answered else self._deaths[index] + 1
        if self._deaths[index] >= MAX_DEATHS:
            self.given_up.append(unit)
            return False
        self._waiting.appendleft(unit)
        return True
