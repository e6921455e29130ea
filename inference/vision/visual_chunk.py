"""A chunk of frames as the decoder reads it, and what is checked and noted about it.

A step is what shares its tokens: one frame, or the frames of a temporal patch. Its visual tokens
may stand between text tokens of its own, such as a time stamp.

Shapes: f frames, s steps, q tokens of a chunk, t visual tokens of a step, e embedding width.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from hermes.positions import Placement, PositionRule
from hermes.store.ledger import Size
from hermes.store.provenance import NO_PATCH, Provenance
from inference.answers.timing import Lap
from inference.errors import FrameError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class VisualChunk:
    """A chunk of frames, ready for the decoder."""

    features: Tensor
    """(q, e)."""
    placement: Placement
    place: Callable[[int], Placement]
    """Where so many steps of this frame size stand when they are read as one chunk, without text;
    text is set around each as one."""
    frames_per_step: int
    """Frames that share their tokens: 1, or the temporal patch."""
    tokens_per_step: int
    """t."""
    size: Size
    """Rows and columns of the visual tokens of a step."""
    vision: Lap | None = None
    """What encoding the frames cost, where it was measured."""
    added: tuple[Tensor, ...] = ()
    """(q, e) each: added to the hidden states behind the first decoder layers, one per layer."""
    text_lengths: tuple[tuple[int, int], ...] = ()
    """Per step the text tokens before and after its visual tokens; empty for no text."""

    @property
    def largest_step(self) -> int:
        """Tokens of the longest step, its text included."""
        return self.tokens_per_step + max(map(sum, self.text_lengths), default=0)

    @property
    def tokens_per_frame(self) -> float:
        """Mean over the chunk, text included."""
        visual = len(self.features) - sum(map(sum, self.text_lengths))
        steps = visual / self.tokens_per_step
        return len(self.features) / steps / self.frames_per_step

    def num_tokens_of(self, num_frames: int) -> int:
        """Tokens of a chunk of so many frames of this size, at most."""
        return -(-num_frames // self.frames_per_step) * self.largest_step

    @property
    def depths(self) -> Tensor:
        """(q, (1 + layers) * e): `features` and `added` side by side, to be kept as one tensor."""
        return torch.cat((self.features, *self.added), dim=1) if self.added else self.features

    def of_depths(self, depths: Tensor) -> VisualChunk:
        """A chunk of so many steps of this frame size, without text, from its `depths`."""
        features, *added = depths.chunk(1 + len(self.added), dim=1)
        placement = self.place(len(depths) // self.tokens_per_step)
        return replace(self, features=features, added=tuple(added), placement=placement)

    def steps(self, first: int, count: int) -> VisualChunk:
        """A chunk of some of its steps, which has no text yet; views."""
        rows = slice(first * self.tokens_per_step, (first + count) * self.tokens_per_step)
        share = count * self.tokens_per_step / len(self.features)
        return replace(
            self,
            features=self.features[rows],
            added=tuple(features[rows] for features in self.added),
            placement=self.place(count),
            vision=self.vision and self.vision.of_share(share),
        )

    def moments(self, num_frames: int, times: Sequence[float] | Tensor) -> list[float]:
        """(s,) seconds in the middle between the first and the last frame of each step.

        Raises:
            FrameError: not one time per frame.
        """
        seconds, step = _seconds(num_frames, times), self.frames_per_step
        last = torch.arange(step - 1, num_frames + step - 1, step).clamp(max=num_frames - 1)
        return ((seconds[::step] + seconds[last]) / 2).tolist()

    def between(self, texts: Sequence[tuple[Tensor, Tensor]], rule: PositionRule) -> VisualChunk:
        """The chunk with the (n, e) embeddings of text before and after each of its steps."""
        lengths = tuple((len(before), len(after)) for before, after in texts)
        longest = max(map(max, lengths))
        blank = self.features.new_zeros(longest, self.features.shape[1])
        blanks = [(blank[:before], blank[:after]) for before, after in lengths]
        return replace(
            self,
            features=self._joined(self.features, texts),
            added=tuple(self._joined(features, blanks) for features in self.added),
            placement=self._placement(lengths, rule),
            text_lengths=lengths,
        )

    def _joined(self, features: Tensor, around: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        steps = features.split(self.tokens_per_step)
        parts = zip(around, steps, strict=True)
        return torch.cat([part for (first, last), step in parts for part in (first, step, last)])

    def _placement(self, lengths: Sequence[tuple[int, int]], rule: PositionRule) -> Placement:
        visual, offsets = self.place(1), []
        start: int | float = 0
        for before, after in lengths:
            for part in (rule.text(before), visual, rule.text(after)):
                offsets.append(part.offsets + start)
                start += part.advance
        return Placement(torch.cat(offsets, dim=1), start)

    def fits(self, kv_size: int) -> bool:
        """Whether the chunk as a whole fits the budget.

        Raises:
            FrameError: not even one frame does.
        """
        if self.largest_step > kv_size:
            raise FrameError(
                f"one frame needs {self.largest_step} visual tokens{self._with_its_text()} but "
                f"kv_size is {kv_size}: raise --kv_size to at least {self.largest_step}, or lower "
                "the resolution (--max_pixels)"
            )
        return len(self.features) <= kv_size

    def _with_its_text(self) -> str:
        own = self.largest_step - self.tokens_per_step
        return f" (with {own} of its own text)" if own else ""

    def warn_oversized(self, num_frames: int, kv_size: int) -> None:
        """Say with the arithmetic that part of the chunk is dropped right after encoding."""
        total = len(self.features)
        logger.warning(
            "a chunk of %d frames has %d visual tokens (%d per %d frame(s)), more than kv_size %d: "
            "part of it is dropped right after encoding and memory peaks at %d tokens; consider a "
            "smaller --max_pixels or a larger --kv_size",
            num_frames,
            total,
            self.largest_step,
            self.frames_per_step,
            kv_size,
            total + kv_size,
        )

    def provenance(
        self, first_frame: int, num_frames: int, times: Sequence[float] | Tensor
    ) -> Provenance:
        """Origin of the (q,) tokens, on the host; frames that share tokens bear the first number.

        Args:
            first_frame: number of the first frame, counted from the start of the stream.
            times: (f,) seconds.

        Raises:
            FrameError: not one time per frame.
        """
        leading = slice(None, None, self.frames_per_step)
        frames = torch.arange(first_frame, first_frame + num_frames)[leading]
        return self.origin(frames, _seconds(num_frames, times)[leading])

    def origin(self, frames: Tensor, seconds: Tensor) -> Provenance:
        """Origin of the (q,) tokens of steps with these (s,) frame numbers and times."""
        lengths = self.text_lengths or ((0, 0),) * len(frames)
        patches = torch.arange(self.tokens_per_step)
        sizes = torch.tensor([self.tokens_per_step + sum(around) for around in lengths])
        return Provenance(
            frames.repeat_interleave(sizes),
            seconds.repeat_interleave(sizes),
            torch.cat([pad(patches, around, value=NO_PATCH) for around in lengths]),
            self.size,
        )


def _seconds(num_frames: int, times: Sequence[float] | Tensor) -> Tensor:
    """(f,) fp64, on the host."""
    if len(times) != num_frames:
        raise FrameError(f"{len(times)} times were given for {num_frames} frames")
    return torch.as_tensor(times, dtype=torch.float64)
