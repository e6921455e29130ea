"""What is known on the host of the frames in memory, without asking a device.

It lists the frames that can still be whole in every layer: those that came since the last
compression, and before them as many of the newest as fit what was kept. A policy that keeps other
frames whole says which (`keep_only`). Nothing older is listed, so the ledger is bounded like the
memory.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace

from hermes.store.provenance import NO_PATCH, Provenance

Size = tuple[int, int]
"""Rows and columns of the visual tokens of a frame."""


@dataclass(frozen=True)
class Frame:
    """One frame, or the frames of a temporal patch, which share their tokens."""

    number: int
    """Counted from the start of the stream."""
    seconds: float
    num_tokens: int
    """Visual tokens per layer."""
    num_text: int
    """Tokens of its text, such as its time stamp."""
    first_slot: int
    """Slot of its first token when it was appended."""
    size: Size

    def __post_init__(self) -> None:
        counts = (self.number, self.num_text, self.first_slot)
        if min(counts) < 0 or self.num_tokens < 1 or self.size[0] * self.size[1] != self.num_tokens:
            raise ValueError(f"no frame can be {self}")


class Ledger:
    """Frames in the order of the stream; only the memory it belongs to changes `frames`."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    @property
    def newest(self) -> Frame:
        """The frame that came last. Raises IndexError before the first."""
        return self.frames[-1]

    def forget_text(self) -> None:
        """Text of frames is gone."""
        self.frames = [replace(frame, num_text=0) for frame in self.frames]

    def keep_only(self, numbers: Sequence[int]) -> None:
        """Only these frames stay whole."""
        wanted = set(numbers)
        self.frames = [frame for frame in self.frames if frame.number in wanted]

    def trim(self, num_visual: int) -> None:
        """Forget frames that cannot be whole with all newer ones among so many tokens; the newest
        is remembered in any case, for its size."""
        held = 0
        for count, frame in enumerate(reversed(self.frames)):
            held += frame.num_tokens + frame.num_text
            if held > num_visual and count:
                self.frames = self.frames[-count:]
                return

    def to_json(self) -> str:
        """For a file."""
        return json.dumps([astuple(frame) for frame in self.frames])

    @classmethod
    def from_json(cls, text: str) -> Ledger:
        """Inverse of `to_json`.

        Raises:
            TypeError, ValueError: no such text, or frames that cannot be.
        """
        ledger = cls()
        for number, seconds, tokens, text_tokens, slot, (rows, columns) in json.loads(text):
            frame = Frame(number, seconds, tokens, text_tokens, slot, (rows, columns))
            ledger.frames.append(frame)
        numbers = [frame.number for frame in ledger.frames]
        if numbers != sorted(set(numbers)):
            raise ValueError(f"frame numbers do not ascend: {numbers}")
        return ledger


def frames_of(origin: Provenance, first_slot: int) -> list[Frame]:
    """The frames of a chunk; read on the host, where provenance is made."""
    numbers, counts = origin.frame.unique_consecutive(return_counts=True)
    pictures = origin.patch != NO_PATCH
    found = []
    start = 0
    for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
        num_tokens = int(pictures[start : start + count].sum())
        size = origin.size or (1, num_tokens)
        seconds = float(origin.seconds[start])
        found.append(
            Frame(number, seconds, num_tokens, count - num_tokens, first_slot + start, size)
        )
        start += count
    return found
