"""Questions of a wanted number of tokens, by any tokenizer."""

from __future__ import annotations

from efficiency.models.words import FILLER
from inference.checkpoints.processor import Processor


def question_of(processor: Processor, num_tokens: int) -> str:
    """The shortest start of a filler text that has at least so many tokens."""
    low, high = 1, len(FILLER)
    while low < high:
        middle = (low + high) // 2
        if len(processor.encode(FILLER[:middle])) < num_tokens:
            low = middle + 1
        else:
            high = middle
    return FILLER[:low]
