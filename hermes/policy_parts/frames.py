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
from hermes.store.provenance import NO_PATCH


class FrameTail(NamedTuple):
    """Frames that can be whole in every layer, since what is new is in all of them."""

    numbers: list[int]
    """Ascending."""
    counts: list[int]
    """Tokens of each."""
    num_whole: int
    """Newest frames in a row that have `tokens_per_frame` tokens."""
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

    def first_picture(self, memory: StreamMemory) -> int:
        """Visual tokens before the whole frames, which stand last: their texts, and what is left of
        frames that lost tokens by hand."""
        return memory.num_visual - len(self.numbers) * self.tokens_per_frame

    def whole_among(self, numbers: list[int]) -> list[int]:
        """Those of these frames, which a policy secured, that are whole in layer 0: text of newer
        ones may have needed their room."""
        if not self.text_counts:
            return numbers
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
    """What the ledger says. Only where frames have text, layer 0 is looked at, which waits for the
    device once: how much text is left of older frames is known there alone."""
    if not memory.has_frame_text:
        frames = memory.ledger.frames
        sizes = [frame.num_tokens for frame in frames]
        return FrameTail([frame.number for frame in frames], sizes, _num_alike(sizes))
    first = memory.stacks[0]
    origin = torch.stack((first.origin.frame[0, first.visual], first.origin.patch[0, first.visual]))
    return _tail(*origin.cpu())


def _num_alike(sizes: list[int]) -> int:
    """Last numbers in a row that are equal."""
    count = 0
    while count < len(sizes) and sizes[-1 - count] == sizes[-1]:
        count += 1
    return count


def _tail(frames: Tensor, patches: Tensor) -> FrameTail:
    texts, pictures = frames[patches == NO_PATCH], frames[patches != NO_PATCH]
    numbers, counts = pictures.unique_consecutive(return_counts=True)
    sizes = counts.tolist()
    of_frame = dict(zip(*(part.tolist() for part in texts.unique(return_counts=True)), strict=True))
    own = tuple(of_frame.get(number, 0) for number in numbers.tolist())
    return FrameTail(numbers.tolist(), sizes, _num_alike(sizes), len(texts), own)


def patch_offsets(memory: StreamMemory, tokens_per_frame: int) -> Tensor:
    """(a, t) places of the tokens of a frame relative to its corner; time is 0."""
    first = memory.stacks[0].positions[0]
    newest = first[:, memory.num_tokens - tokens_per_frame : memory.num_tokens]
    offsets = newest - newest.amin(dim=1, keepdim=True)
    offsets[0] = 0
    return offsets
