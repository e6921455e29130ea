"""What the parts of a stream need of it; `AbstractHermes` is what they get."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from hermes import MemoryConfig, StreamMemory
from hermes.positions import PositionRule
from inference.answers.prompts import Turn
from inference.answers.timing import AnswerTiming
from inference.checkpoints.processor import Processor
from inference.decoder import StreamDecoder
from inference.vision.visual_chunk import VisualChunk

if TYPE_CHECKING:
    from inference.kept.kept import Kept


class Stream(Protocol):
    """One stream over a model; see `AbstractHermes` for every member."""

    model: Any
    processor: Processor
    config: MemoryConfig
    text_config: Any
    language_model: Any
    decoder: StreamDecoder
    execution: str
    rule: PositionRule
    device: torch.device
    max_positions: int
    kept: Kept
    conv_history: list[Turn]
    total_processed_frames: int
    last_timing: AnswerTiming | None

    @property
    def compression_seconds(self) -> float: ...
    @property
    def memory(self) -> StreamMemory: ...
    @property
    def closing_prompt(self) -> str: ...
    @property
    def streaming(self) -> bool: ...
    def see(self, frames: Tensor) -> VisualChunk: ...
    def encode_features(self, frames: Any) -> VisualChunk: ...
    def with_text(self, chunk: VisualChunk, moments: Sequence[float]) -> VisualChunk: ...
    def num_text_tokens(self, seconds: float) -> int: ...
    def embed(self, ids: Tensor) -> Tensor: ...
    def encode_init_prompt(self) -> None: ...
    def naming_remedies(self, doing: str) -> AbstractContextManager[None]: ...
