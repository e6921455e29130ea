"""Tokenizer and pixel numbers of a checkpoint; needs none of its own processor's libraries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from inference.cleanup import clean_up
from inference.frames import PixelConfig


@dataclass(frozen=True)
class Processor:
    """What turns text into tokens and says how frames become pixels."""

    tokenizer: Any
    pixels: PixelConfig

    @property
    def stop_ids(self) -> frozenset[int]:
        """Tokens that end an answer."""
        return frozenset({self.tokenizer.eos_token_id})

    def encode(self, text: str) -> Tensor:
        """(t,) int64 token ids, nothing added."""
        return torch.tensor(self.tokenizer.encode(text, add_special_tokens=False))

    def decode(self, ids: list[int]) -> str:
        """Text without special tokens, spaces cleaned up as the release did."""
        return clean_up(self.decode_raw(ids))

    def decode_raw(self, ids: list[int]) -> str:
        """Text without special tokens, spaces as the tokens say."""
        return self.tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
