"""CUDA streams that do not exist: who may read what, and in which order work was issued.

Every kernel is put down to the current stream. A kernel that reads what another stream has written
raises `StreamRace` unless an event says that it comes later, and memory of one stream that another
one uses without `record_stream` is counted: the allocator would give it away too early.

Clocks are vectors: what a stream knows to be finished of every stream.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

Clock = dict["PretendedStream", int]


class StreamRace(BaseException):
    """A kernel reads what nothing says has been written yet; nobody may catch that by the way."""


@dataclass(eq=False)
class PretendedStream:
    """A queue of kernels; `clock[self]` counts those issued."""

    streams: Streams
    name: str
    clock: Clock = field(default_factory=dict)

    def record_event(self, event: PretendedEvent | None = None) -> PretendedEvent:
        """An event behind all that has been issued here."""
        event = event or PretendedEvent(self.streams)
        event.record(self)
        return event

    def wait_event(self, event: PretendedEvent) -> None:
        """What is issued here from now on comes after the event."""
        self.streams.log.append(("wait", self.name))
        self.learn(event.clock)

    def wait_stream(self, stream: PretendedStream) -> None:
        """What is issued here from now on comes after all that has been issued there."""
        self.wait_event(stream.record_event())

    def synchronize(self) -> None:
        """The host stands still."""
        self.streams.host_waits("stream synchronize")

    def learn(self, clock: Clock) -> None:
        """Take over what somebody else knows to be finished."""
        for stream, count in clock.items():
            self.clock[stream] = max(self.clock.get(stream, 0), count)

    def __repr__(self) -> str:
        return self.name


class PretendedEvent:
    """What was finished on a stream when this was recorded there."""

    def __init__(self, streams: Streams, enable_timing: bool = False) -> None:
        self.streams, self.clock, self.has_time = streams, Clock(), enable_timing

    def record(self, stream: PretendedStream | None = None) -> None:
        """Behind all that has been issued on the stream, by default the current one."""
        stream = stream or self.streams.current
        self.streams.log.append(("record", stream.name))
        self.clock = dict(stream.clock)
        self.seconds, self._waits = time.perf_counter(), self.streams.num_waits

    def query(self) -> bool:
        """Whether the host has waited since."""
        return self.streams.num_waits != self._waits

    def elapsed_time(self, end: PretendedEvent) -> float:
        """Milliseconds between two events that tell the time."""
        assert self.has_time and end.has_time
        return 1000 * (end.seconds - self.seconds)

    def wait(self, stream: PretendedStream | None = None) -> None:
        """As `wait_event`."""
        (stream or self.streams.current).wait_event(self)

    def synchronize(self) -> None:
        """The host stands still; a clock is one that tells the time."""
        self.streams.host_waits("synchronize" if self.has_time else "event synchronize")


class Streams:
    """All streams of the pretended devices; the first is the default one."""

    def __init__(self, host_waits: Callable[[str], None]) -> None:
        self.log: list[tuple[str, str]] = []
        """("record" or "wait" or an operator, stream), in the order of issue."""
        self.foreign: Counter[tuple[str, str]] = Counter()
        """(stream, operator): uses of another stream's memory that it was not told of."""
        self.host_waits = host_waits
        self.num_waits = 0
        """How often the host has stood still."""
        self._all = [PretendedStream(self, "main")]
        self.current = self._all[0]
        self._written: dict[int, tuple[PretendedStream, int]] = {}
        self._owner: dict[int, PretendedStream] = {}
        self._recorded: set[tuple[int, PretendedStream]] = set()

    def open(self) -> PretendedStream:
        """As `torch.cuda.Stream()`."""
        self._all.append(PretendedStream(self, f"side {len(self._all)}"))
        return self._all[-1]

    @contextmanager
    def entered(self, stream: PretendedStream) -> Iterator[None]:
        """As `torch.cuda.stream(stream)`."""
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before

    def synchronized(self) -> None:
        """The host has waited for everything."""
        self.num_waits += 1
        for stream in self._all:
            for other in self._all:
                stream.learn(other.clock)

    def recorded(self, held: Tensor, stream: PretendedStream) -> None:
        """As `tensor.record_stream(stream)`."""
        self._recorded.add((_place(held), stream))

    def launched(
        self, name: str, inputs: Iterable[Tensor], outputs: Iterable[Tensor], mutates: bool
    ) -> None:
        """A kernel on the current stream; outputs that share memory with inputs are written if it
        `mutates`, else they are views."""
        stream = self.current
        self.log.append((name, stream.name))
        places = {_place(held) for held in inputs}
        for place in places:
            writer, count = self._written.get(place, (stream, 0))
            if writer is not stream and stream.clock.get(writer, 0) < count:
                raise StreamRace(f"{name} on {stream} reads what {writer} may still be writing")
            owner = self._owner.get(place, stream)
            if owner is not stream and (place, stream) not in self._recorded:
                self.foreign[stream.name, name] += 1
        stream.clock[stream] = stream.clock.get(stream, 0) + 1
        for held in outputs:
            place = _place(held)
            if place not in places:
                self._owner[place] = stream
                if self._recorded:
                    self._recorded -= {(place, other) for other in self._all}
            elif not mutates:
                continue
            self._written[place] = (stream, stream.clock[stream])

    def pretences(self) -> dict[str, Any]:
        """What stands in for names of `torch.cuda`; classes for classes, as annotations need."""
        make: dict[str, Callable[..., Any]] = {
            "Stream": lambda cls, *_, **__: self.open(),
            "Event": lambda cls, enable_timing=False: PretendedEvent(self, enable_timing),
        }
        return {
            **{name: type(name, (), {"__new__": new}) for name, new in make.items()},
            "stream": self.entered,
            "current_stream": lambda device=None: self.current,
            "default_stream": lambda device=None: self._all[0],
        }


def _place(held: Tensor) -> int:
    return held.untyped_storage().data_ptr()
