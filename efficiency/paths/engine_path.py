"""The engine of this project, driven as a user does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor

from efficiency.paths.path import Answered, Path
from efficiency.spans import Spans
from inference.vision.visual_chunk import VisualChunk


class EnginePath(Path):
    """The plain loop of the engine."""

    name: ClassVar[str] = "ours"

    def restart(self) -> None:
        """Buffers stay."""
        self.engine.clear_cache()
        self.engine.encode_init_prompt()

    def read(self, chunk: VisualChunk, frames: Any, spans: Spans) -> None:
        """No logits of visual tokens."""
        self.engine.encode_video_chunk(frames, seen=chunk)

    def make_room(self, spans: Spans) -> None:
        """Scoring is what asks for attention and what chooses."""
        with self._marked(spans):
            self.engine.predict_and_compress()

    @contextmanager
    def _marked(self, spans: Spans) -> Iterator[None]:
        engine: Any = self.engine
        policy = engine.policy
        engine.guidance_attention = spans.around("scoring", engine.guidance_attention)
        policy.choose = spans.around("scoring", policy.choose)
        try:
            yield
        finally:
            del engine.guidance_attention, policy.choose

    def answer(self, prompt: str, max_new_tokens: int) -> Answered:
        """Times are those that the engine reports with every answer."""
        asked = {"question": prompt, "prompt": prompt}
        text = "".join(self.engine.stream_answer(asked, max_new_tokens))
        self.engine.conv_history.clear()
        timing = self.engine.last_timing
        assert timing is not None
        later = timing.per_token_seconds if timing.num_new_tokens > 1 else None
        return Answered(text, timing.first_token_seconds, later)

    def forced_logits(self, prompt: str, tokens: Sequence[int]) -> Tensor:
        """Through the engine's decoder."""
        pieces = [self.engine.processor.encode(prompt), *(torch.tensor([t]) for t in tokens)]
        with self.engine.memory.scratch():
            return torch.stack([self._logits(piece) for piece in pieces])

    @torch.no_grad()
    def _logits(self, ids: Tensor) -> Tensor:
        engine = self.engine
        placement = engine.rule.text(len(ids), engine.device)
        hidden = engine.decoder.forward(engine.memory, engine.embed(ids), placement)
        assert hidden is not None
        return engine.model.lm_head(hidden[-1]).float()

    @property
    def kept(self) -> list[list[int]] | None:
        """As `Compression.kept`."""
        rows = self.engine.last_compression.kept
        return None if rows is None else [row.tolist() for row in rows]

    @property
    def num_tokens(self) -> int:
        """Of the layers that hold most."""
        return self.engine.memory.num_tokens

    @property
    def num_bytes(self) -> int:
        """All buffers, allocated once."""
        return self.engine.memory.num_bytes + self.engine.policy.device_bytes
