"""Tokenizer and pixel numbers of a checkpoint; needs none of its own processor's libraries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from inference.answers.cleanup import clean_up
from inference.vision.frames import PixelConfig


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

    def rows_of(self, part: str, text: str) -> slice:
        """Which tokens of `text` hold characters of `part`, where it first occurs; all of them if
        it is nowhere in the text."""
        start = text.find(part)
        if start < 0 or not part:
            return slice(None)
        coded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        rows = [
            row
            for row, (first, stop) in enumerate(coded["offset_mapping"])
            if first < start + len(part) and stop > start
        ]
        return slice(rows[0], rows[-1] + 1) if rows else slice(None)

    def decode(self, ids: list[int]) -> str:
        """Text without special tokens, spaces cleaned up as the release did."""
        return clean_up(self.decode_raw(ids))

    def decode_raw(self, ids: list[int]) -> str:
        """Text without special tokens, spaces as the tokens say."""
        return self.tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
