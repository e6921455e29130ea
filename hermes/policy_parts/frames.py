"""Whole frames at the end of the memory, where nothing has been evicted yet.

Shapes: n visual tokens, t tokens per frame, a position axes.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from hermes.memory import StreamMemory


class FrameTail(NamedTuple):
    """The frames of layer 0, and how many of the newest are whole (in every layer, since what is
    new is in all of them)."""

    numbers: list[int]
    """Ascending frame numbers that layer 0 still holds tokens of."""
    counts: list[int]
    """Tokens that layer 0 holds of each."""
    num_whole: int
    """Newest frames in a row that have `tokens_per_frame` tokens in layer 0."""

    @property
    def tokens_per_frame(self) -> int:
        """t: those of the newest frame."""
        return self.counts[-1]

    def whole_since(self, frame: int) -> int:
        """How many of the newest frames came after the number `frame`.

        Raises:
            ValueError: they are not all of one size.
        """
        count = sum(number > frame for number in self.numbers)
        if count > self.num_whole:
            raise ValueError(
                f"frames after number {frame} differ in size (the newest has "
                f"{self.tokens_per_frame} tokens); this policy needs frames of one size: watch "
                "frames of equal height and width. The same follows from restoring a snapshot, "
                "which does not hold the policy's own state"
            )
        return count


def frame_tail(memory: StreamMemory) -> FrameTail:
    """Look at the frame numbers of layer 0; waits for the device once."""
    first = memory.stacks[0]
    numbers, counts = (
        first.origin.frame[0, first.visual].cpu().unique_consecutive(return_counts=True)
    )
    sizes = counts.tolist()
    whole = 0
    while whole < len(sizes) and sizes[-1 - whole] == sizes[-1]:
        whole += 1
    return FrameTail(numbers.tolist(), sizes, whole)


def patch_offsets(memory: StreamMemory, tokens_per_frame: int) -> Tensor:
    """(a, t) places of the tokens of a frame relative to its corner; time is 0."""
    first = memory.stacks[0].positions[0]
    newest = first[:, memory.num_tokens - tokens_per_frame : memory.num_tokens]
    offsets = newest - newest.amin(dim=1, keepdim=True)
    offsets[0] = 0
    return offsets


def frame_grid(memory: StreamMemory, tokens_per_frame: int) -> tuple[int, int]:
    """Rows and columns of a frame: from M-RoPE positions, else square. May wait for the device."""
    if memory.stacks[0].positions.shape[1] == 3:
        rows = int(patch_offsets(memory, tokens_per_frame)[1].max()) + 1
    else:
        rows = round(tokens_per_frame**0.5)
    if tokens_per_frame % rows:
        raise ValueError(f"{tokens_per_frame} tokens of a frame do not fill {rows} rows")
    return rows, tokens_per_frame // rows
