"""The engine of this project, driven as a user does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor

from efficiency.paths.path import Answered, Path
from efficiency.spans import Spans
from inference import AbstractHermes
from inference.tokens.captured_tokens import lengths_for, padded
from inference.tokens.constant_span import ConstantSpan
from inference.tokens.fused_reader import FusedReader
from inference.vision.visual_chunk import VisualChunk


class EnginePath(Path):
    """In the execution that the engine has."""

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
        """As the execution reads questions and answers."""
        pieces = [self.engine.processor.encode(prompt), *(torch.tensor([t]) for t in tokens)]
        with self.engine.memory.scratch():
            read = _READERS[self.engine.execution](self.engine)
            return torch.stack([self.engine._answering.logits(read(ids)).float() for ids in pieces])

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
        return self.engine.memory.num_bytes + self.engine.kept.num_bytes


class PlainPath(EnginePath):
    """Module by module and token by token: what every other way is held to."""

    name: ClassVar[str] = "plain"
    execution: ClassVar[str | None] = "plain"


Reader = Callable[[Tensor], Tensor]
"""(t,) ids behind those read before -> (1, e) hidden state of the last."""


def _plain_reader(engine: AbstractHermes) -> Reader:
    return lambda ids: engine._answering.read(engine.memory, ids)


def _fused_reader(engine: AbstractHermes) -> Reader:
    return FusedReader(engine._answering, engine.memory)


def _captured_reader(engine: AbstractHermes) -> Reader:
    """The passes that are recorded, not recorded: the logits are wanted."""
    memory, text = engine.memory, engine.text_config
    memory.refresh()
    engine.decoder.refresh()
    read: list[int] = [0]

    def run(ids: Tensor) -> Tensor:
        rows = 1 if len(ids) == 1 else padded(len(ids))
        memory.reserve(read[0] + rows)
        lengths = lengths_for(memory, read[0] + rows)
        repeats = text.num_attention_heads // text.num_key_value_heads
        span = ConstantSpan(memory, rows, lengths, repeats)
        span.place(read[0], len(ids))
        span.begin()
        read[0] += len(ids)
        filled = torch.nn.functional.pad(ids, (0, rows - len(ids)))
        return engine._answering.text_pass(engine.embed(filled), span)

    return run


_READERS: dict[str, Callable[[AbstractHermes], Reader]] = {
    "plain": _plain_reader,
    "fused": _fused_reader,
    "captured": _captured_reader,
}
