"""Times that mean something on a GPU: every reading waits for the device first."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class AnswerTiming:
    """What one answer cost, in seconds, measured with synchronisation."""

    prefill_seconds: float
    """Reading the question into the memory, tokenisation not included."""
    first_token_seconds: float
    """From the call to the first token on the host, tokenisation included."""
    per_token_seconds: float
    """Mean over the tokens after the first; 0 if there is only one."""
    compression_seconds: float
    """The latest compression before the question; part of watching, not of answering."""
    num_new_tokens: int
    """Tokens produced, the stop token included."""
    first_token_cached_seconds: float = 0.0
    """`first_token_seconds` without the vision encoding of frames that are read afresh."""
    first_token_uncached_seconds: float = 0.0
    """`first_token_seconds` with it, as if no features had been kept; both figures equal
    `first_token_seconds` for a policy that reads no frames at question time."""


class Stopwatch:
    """Seconds since construction or the last `restart`, after all queued device work is done."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.restart()

    def restart(self) -> None:
        """Start again at zero."""
        self._start = self._now()

    def seconds(self) -> float:
        """Seconds since the start."""
        return self._now() - self._start

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()
