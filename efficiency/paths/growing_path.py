"""Nothing is ever evicted: what a model does if one only feeds it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from efficiency.paths.cache_path import CachePath
from efficiency.spans import Spans
from hermes.positions import Placement
from inference.answers.sampler import Sampler
from inference.vision.visual_chunk import VisualChunk


class GrowingPath(CachePath):
    """transformers' forward on a growing cache, without logits of visual tokens: the fair case."""

    name: ClassVar[str] = "growing"
    policy: ClassVar[str | None] = "none"

    def forget_positions(self) -> None:
        """All layers share their positions."""
        self._next: float = 0

    @torch.no_grad()
    def feed(
        self, embeddings: Tensor, placement: Placement, added: Sequence[Tensor] = ()
    ) -> Tensor:
        """Positions are handed to the model."""
        positions = placement.offsets.to(self.device) + self._next
        index = positions if len(positions) == 1 else positions[:, None]
        hidden = self.forward(embeddings, added, position_ids=index)
        self._next += placement.advance
        return hidden

    def read(self, chunk: VisualChunk, frames: Any, spans: Spans) -> None:
        """Beyond the model's position range too: the arithmetic is the same."""
        self.feed_chunk(chunk, frames)

    def make_room(self, spans: Spans) -> None:
        """There is always room, until the device is full."""

    def chooser(self) -> Callable[[Tensor], int]:
        """The engine's own sampler, which waits once per token."""
        sampler, head = Sampler(), self.engine.model.lm_head
        return lambda hidden: sampler(head(hidden[-1]))

    def marked_positions(self) -> float:
        """One number."""
        return self._next

    def cut_positions(self, mark: float) -> None:
        """Back to it."""
        self._next = mark

    @property
    def kept(self) -> None:
        """Everything."""
        return None
