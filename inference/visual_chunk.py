"""A chunk of frames as the decoder reads it, and what is checked and noted about it.

Shapes: f frames, q visual tokens of a chunk, e embedding width.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hermes.positions import Placement
from hermes.provenance import Provenance
from inference.errors import FrameError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class VisualChunk:
    """A chunk of frames, ready for the decoder."""

    features: Tensor
    """(q, e)."""
    placement: Placement
    place: Callable[[int], Placement]
    """Where so many steps of this frame size stand when they are read as one chunk."""
    frames_per_step: int
    """Frames that share their tokens: 1, or the temporal patch."""
    tokens_per_step: int
    vision_seconds: float = 0.0
    """What encoding the frames cost, where it was measured."""

    def fits(self, kv_size: int) -> bool:
        """Whether the chunk as a whole fits the budget.

        Raises:
            FrameError: not even one frame does.
        """
        if self.tokens_per_step > kv_size:
            raise FrameError(
                f"one frame needs {self.tokens_per_step} visual tokens but kv_size is {kv_size}: "
                f"raise --kv_size to at least {self.tokens_per_step}, or lower the resolution "
                "(--max_pixels)"
            )
        return len(self.features) <= kv_size

    def warn_oversized(self, num_frames: int, kv_size: int) -> None:
        """Say with the arithmetic that part of the chunk is dropped right after encoding."""
        total = len(self.features)
        logger.warning(
            "a chunk of %d frames has %d visual tokens (%d per %d frame(s)), more than kv_size %d: "
            "part of it is dropped right after encoding and memory peaks at %d tokens; consider a "
            "smaller --max_pixels or a larger --kv_size",
            num_frames,
            total,
            self.tokens_per_step,
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
        if len(times) != num_frames:
            raise FrameError(f"{len(times)} times were given for {num_frames} frames")
        leading, step = slice(None, None, self.frames_per_step), self.tokens_per_step
        frames = torch.arange(first_frame, first_frame + num_frames)[leading]
        seconds = torch.as_tensor(times, dtype=torch.float64)[leading]
        return Provenance(
            frames.repeat_interleave(step),
            seconds.repeat_interleave(step),
            torch.arange(step).repeat(len(frames)),
        )
