"""Which packets of a video must be decoded, and how fully, to get the sampled frames exactly.

Between two sampled frames lie many that nobody sees. Two kinds need no work at all:

- packets between the last sampled frame of one group of pictures and the next *restart*, a key
  frame after which nothing refers to anything before it, are dropped;
- frames to which no other frame refers need not be reconstructed unless they are sampled
  (`PacketStep.shown` is False; the decoder itself recognises them and leaves them out).

The plan looks at stamps only. It relies on: a packet's presentation stamp is that of its one
frame, it is never below its decoding stamp, and decoding stamps do not decrease.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from video.sampling import SamplePlan

# Packets held back at most while it is not known whether a restart makes them superfluous;
# they are compressed, so this is a few megabytes. Beyond it they are decoded, needed or not.
MAX_PENDING = 600


class StampedPacket(Protocol):
    """The part of av.Packet that the plan looks at; stamps in ticks."""

    pts: int | None
    dts: int | None
    is_discard: bool


@dataclass(frozen=True)
class PacketStep:
    """One packet to decode. `shown`: its frame may be sampled; False: only others may need it.

    `after_gap`: packets before it were dropped, so the decoder must start afresh. `restart`: it
    refers to nothing before it, nor does anything after it.
    """

    packet: StampedPacket
    shown: bool
    after_gap: bool
    restart: bool = False


class PacketPlanner:
    """Turns packets in decoding order into the steps that yield the frames of `plan`."""

    def __init__(self, plan: SamplePlan, is_restart: Callable[[Any], bool]) -> None:
        self._plan = plan
        self._is_restart = is_restart
        self._index = 0  # the sampled frame that is looked for
        self._pending: list[tuple[StampedPacket, bool]] = []  # (packet, is it a restart)
        self._gap = False
        self._stamped = True

    def steps(
        self, packets: Iterable[StampedPacket], end_key: Callable[[], int]
    ) -> Iterator[PacketStep]:
        """Steps in decoding order; stops reading packets once the last wanted frame is certain.

        `end_key()` is asked after the last packet: the stamp at which the video ends.
        """
        for packet in packets:
            self._stamped = self._stamped and packet.pts is not None
            if not self._stamped:  # nothing is certain any more: decode everything
                yield from self._send(len(self._pending), lowest_shown=None)
                yield PacketStep(packet, shown=True, after_gap=self._take_gap())
                continue
            if packet.dts is not None:
                yield from self._resolve(packet.dts)
                if not self._plan.wants(self._index):
                    return
            self._add(packet)
            if len(self._pending) > MAX_PENDING:
                yield from self._send(MAX_PENDING // 2, self._best_stamp())
        yield from self._resolve(end_key())

    def _resolve(self, limit: int) -> Iterator[PacketStep]:
        """Send what the samples before `limit` need: all packets up to there have been seen."""
        while self._plan.wants(self._index) and self._plan.deadline(self._index) < limit:
            best = self._best_stamp()
            if best is not None:
                last = max(i for i, (packet, _) in enumerate(self._pending) if packet.pts == best)
                yield from self._send(last + 1, best)
            self._index += 1
            self._drop_before_restart()

    def _add(self, packet: StampedPacket) -> None:
        restart = self._is_restart(packet)
        self._pending.append((packet, restart))
        if restart:
            self._drop_before_restart()

    def _drop_before_restart(self) -> None:
        """Forget packets before the last restart that is not later than the looked-for frame."""
        if not self._plan.wants(self._index):
            return
        deadline = self._plan.deadline(self._index)
        for position in reversed(range(1, len(self._pending))):
            packet, restart = self._pending[position]
            if restart and packet.pts is not None and packet.pts <= deadline:
                del self._pending[:position]
                self._gap = True
                return

    def _best_stamp(self) -> int | None:
        """Stamp of the last pending frame on screen at the looked-for time, if there is one."""
        deadline = self._plan.deadline(self._index)
        stamps = (
            packet.pts
            for packet, _ in self._pending
            if packet.pts is not None and packet.pts <= deadline and not packet.is_discard
        )
        return max(stamps, default=None)

    def _send(self, count: int, lowest_shown: int | None) -> Iterator[PacketStep]:
        """The first `count` pending packets; later samples may want any stamp above the lowest."""
        sent, self._pending = self._pending[:count], self._pending[count:]
        for packet, restart in sent:
            shown = lowest_shown is None or packet.pts is None or packet.pts >= lowest_shown
            yield PacketStep(packet, shown, self._take_gap(), restart)

    def _take_gap(self) -> bool:
        gap, self._gap = self._gap, False
        return gap
