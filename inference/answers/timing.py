"""Times that mean something on a GPU: a stopwatch waits for the device at every reading, a lap is
timed by the device itself and waits only when it is read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class AnswerTiming:
    """What one answer cost, in seconds, measured with synchronisation."""

    prefill_seconds: float
    """Reading the question into the memory, tokenisation not included."""
    first_token_seconds: float
    """From the call to the first token on the host, tokenisation included."""
    per_token_seconds: float
    """Mean over the tokens after the first; 0 if there is only one. What the consumer of a
    streamed answer does between tokens is not counted."""
    compression_seconds: float
    """The latest compression before the question; part of watching, not of answering."""
    num_new_tokens: int
    """Tokens produced, the stop token included; fewer than asked for if it was closed early."""
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


class Lap:
    """Time of the work queued between construction and `stop`."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._share = device, 1.0
        self._start = self._end = self._now()

    def stop(self) -> Lap:
        """Nothing more belongs to it."""
        self._end = self._now()
        return self

    def of_share(self, share: float) -> Lap:
        """What a part of the work took, if all of it took equally long."""
        part = copy(self)
        part._share = self._share * share
        return part

    @property
    def seconds(self) -> float:
        """Waits for the device if it has not come so far."""
        start, end = self._start, self._end
        if isinstance(start, float) or isinstance(end, float):
            return (end - start) * self._share
        if not end.query():
            end.synchronize()
        milliseconds: float = start.elapsed_time(end)
        return milliseconds / 1000 * self._share

    def _now(self) -> Any:
        """Seconds, or an event in the queue of the device."""
        if self._device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        return event


class AnswerClock:
    """Times of one answer, part by part; what is known of them at any moment."""

    def __init__(self, device: torch.device) -> None:
        self._watch = Stopwatch(device)
        self._tokenised = self._prefill = self._first = self._rest = 0.0
        self.num_tokens = 0

    def tokenised(self) -> None:
        """The prompt is token ids now."""
        self._tokenised = self._watch.seconds()

    def prefilled(self) -> None:
        """The prompt has been read."""
        self._prefill = self._watch.seconds() - self._tokenised

    @contextmanager
    def token(self) -> Iterator[None]:
        """Around what makes a token, up to its being on the host, so that nothing is queued."""
        start = time.perf_counter()
        yield
        self.num_tokens += 1
        if self.num_tokens == 1:
            self._first = self._watch.seconds()
        else:
            self._rest += time.perf_counter() - start

    def timing(
        self, compression_seconds: float, vision_seconds: tuple[float, float]
    ) -> AnswerTiming:
        """The record; `vision_seconds` are those spared by kept features, and those spent."""
        spared, spent = vision_seconds
        return AnswerTiming(
            self._prefill,
            self._first,
            self._rest / (self.num_tokens - 1) if self.num_tokens > 1 else 0.0,
            compression_seconds,
            self.num_tokens,
            first_token_cached_seconds=self._first - spent,
            first_token_uncached_seconds=self._first + spared,
        )
