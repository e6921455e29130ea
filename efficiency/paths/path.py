"""A way of watching and answering with given weights, in steps that can be timed one by one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from efficiency.spans import Spans
from inference import AbstractHermes
from inference.vision.visual_chunk import VisualChunk


class Answered(NamedTuple):
    """An answer and its times."""

    text: str
    first_token_seconds: float
    """From the question, tokenisation included, to the first token on the host."""
    per_token_seconds: float | None
    """Mean over the tokens after the first; None if there was none."""


class Path(ABC):
    """One stream. Answering leaves no trace in its memory."""

    name: ClassVar[str]
    policy: ClassVar[str | None] = None
    """The memory policy that it carries out, to which the guard holds it; None: any."""
    execution: ClassVar[str | None] = None
    """How it computes; None: as the engine that it is given."""
    feeds_last_token: ClassVar[bool] = False
    """Whether it reads the last token of an answer too, of which nothing comes."""

    def __init__(self, engine: AbstractHermes) -> None:
        """Over the weights, processor and settings of `engine`, on a stream of its own."""
        named: dict[str, Any] = {} if self.policy is None else {"policy": self.policy}
        self.seen: VisualChunk | None = None
        """Features that stand for those of every chunk, where vision is left out."""
        self.engine = engine.new_stream(execution=self.execution, **named)
        self.restart()

    @property
    def device(self) -> torch.device:
        """Where the clock has to wait."""
        return self.engine.device

    def see(self, frames: Any) -> VisualChunk:
        """Frames to features; the same for all ways."""
        return self.seen or self.engine.encode_features(frames)

    @abstractmethod
    def restart(self) -> None:
        """Forget the stream and read the prompt before the first frame."""

    @abstractmethod
    def read(self, chunk: VisualChunk, frames: Any, spans: Spans) -> None:
        """Take a chunk into the memory. Parts: `logits`, where they are computed."""

    @abstractmethod
    def make_room(self, spans: Spans) -> None:
        """Bring the memory back to its budget. Parts: `scoring`."""

    @abstractmethod
    def answer(self, prompt: str, max_new_tokens: int) -> Answered:
        """Greedy, with the released repetition penalty."""

    @abstractmethod
    def forced_logits(self, prompt: str, tokens: Sequence[int]) -> Tensor:
        """(t + 1, v) fp32 logits after the prompt and after each token, fed one by one."""

    @property
    @abstractmethod
    def kept(self) -> list[list[int]] | None:
        """Per layer the visual tokens that the last `make_room` kept; None if it evicted none."""

    @property
    @abstractmethod
    def num_tokens(self) -> int:
        """Tokens per layer in memory."""

    @property
    @abstractmethod
    def num_bytes(self) -> int:
        """Bytes that the memory holds between steps."""
