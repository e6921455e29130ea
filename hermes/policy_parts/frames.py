"""Whole frames at the end of the memory, where nothing has been evicted yet.

Text of frames, where there is any, stands before all pictures; tokens of a frame are those of its
picture unless text is named.

Shapes: n visual tokens, t tokens per frame, a position axes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from hermes.memory import StreamMemory
from hermes.provenance import NO_PATCH


class FrameTail(NamedTuple):
    """The frames of layer 0, and how many of the newest are whole (in every layer, since what is
    new is in all of them)."""

    numbers: list[int]
    """Ascending frame numbers that layer 0 still holds tokens of."""
    counts: list[int]
    """Tokens that layer 0 holds of each."""
    num_whole: int
    """Newest frames in a row that have `tokens_per_frame` tokens in layer 0."""
    num_text: int = 0
    """Text tokens in layer 0."""
    text_counts: tuple[int, ...] = ()
    """Those of each frame; empty for none."""

    @property
    def tokens_per_frame(self) -> int:
        """t: those of the newest frame."""
        return self.counts[-1]

    @property
    def tokens_with_text(self) -> int:
        """t and the text tokens of the frame that has most."""
        return self.tokens_per_frame + max(self.text_counts, default=0)

    def fitting(self, budget: int, *, with_text: bool) -> tuple[int, int]:
        """How many of the newest frames fit a budget, if need be with their text, and the tokens
        of that."""
        texts = self.text_counts if with_text and self.num_text else (0,) * len(self.counts)
        frames = text = spent = 0
        for count, own in zip(reversed(self.counts), reversed(texts), strict=True):
            spent += count + own
            if spent > budget:
                break
            frames, text = frames + 1, text + own
        return frames, text

    def whole_among(self, numbers: list[int]) -> list[int]:
        """Those of these frames that have t tokens in layer 0."""
        counts = dict(zip(self.numbers, self.counts, strict=True))
        return [number for number in numbers if counts.get(number) == self.tokens_per_frame]

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
    if memory.has_frame_text:
        origin = torch.stack(
            (first.origin.frame[0, first.visual], first.origin.patch[0, first.visual])
        )
        return _tail(*origin.cpu())
    return _tail(first.origin.frame[0, first.visual].cpu())


def _tail(frames: Tensor, patches: Tensor | None = None) -> FrameTail:
    texts = frames[:0] if patches is None else frames[patches == NO_PATCH]
    pictures = frames if patches is None else frames[patches != NO_PATCH]
    numbers, counts = pictures.unique_consecutive(return_counts=True)
    sizes = counts.tolist()
    whole = 0
    while whole < len(sizes) and sizes[-1 - whole] == sizes[-1]:
        whole += 1
    if not len(texts):
        return FrameTail(numbers.tolist(), sizes, whole)
    of_frame = dict(zip(*(part.tolist() for part in texts.unique(return_counts=True)), strict=True))
    own = tuple(of_frame.get(number, 0) for number in numbers.tolist())
    return FrameTail(numbers.tolist(), sizes, whole, len(texts), own)


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
