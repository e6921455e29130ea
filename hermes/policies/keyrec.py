"""Recent frames and a bank of events, of embeddings that enter the decoder: KeyRec (2609.32182).

Nothing of the stream is kept as keys and values. The newest frames are kept as they come. A frame
that leaves them is proposed as an event: if it is new against the stored events it is added,
otherwise merged into the one it resembles most; a full bank evicts. A question reads events and
recent frames from their embeddings, in time order; no frame passes the vision tower twice.

Deviations: only the abstract of arXiv 2609.32182 was known, so every constant here is a choice of
this project, tuned on training streams of NanoStream (docs/log.md), and so is what follows.
- An event is one frame (or temporal patch) with all its tokens, at the time of its first sight.
- Novelty is 1 - the largest mean cosine, over patches at the same place, with a stored event.
  Frames that leave in one chunk meet the events' embeddings as they were before the chunk.
- Merging is the running mean of embeddings over sightings. A full bank evicts from the two events
  that are most alike the one seen fewer times, and the later one if both were seen equally often.
- The router, which splits the readout for each question by its text, is not described in the
  abstract and left out: `event_share` of the frames that a question reads are events, always.
- The paper reads 10 % of the dense visual tokens; here kv_size says how many.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from hermes.memory import StreamMemory
from hermes.policy_parts.novelty.keyframes import mean_cosines
from hermes.policy_parts.options import check_share
from hermes.policy_parts.reprefill_base import ReprefillOptions, ReprefillPolicy
from hermes.policy_parts.state import PolicyState, check_names, frame_numbers


@dataclass(frozen=True)
class KeyRecOptions(ReprefillOptions):
    """How many events there are, and what is one. The paper's values are not known."""

    event_share: float = 0.5
    """Share of the frames shown that are events; at least one frame is recent."""
    novelty: float = 0.02
    """What a frame needs to become an event of its own. Tuned on features of hermes-nano: those of
    another vision tower may need another value."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share("event_share", self.event_share)
        check_share("novelty", self.novelty)
        if not self.cache_features:
            raise ValueError("cache_features must be true: events are made of features")


@dataclass
class _Bank:
    """Events, by their index into the steps that are being absorbed."""

    similarity: list[list[float]]
    """(m, m) of the steps that are or may become events."""
    sightings: dict[int, int]
    merged: dict[int, list[int]] = field(default_factory=dict)
    """Event -> steps merged into it now."""

    def propose(self, step: int, novelty: float, room: int) -> None:
        """Add, merge, evict."""
        likeness = self.similarity[step]
        nearest = max(self.sightings, key=likeness.__getitem__, default=None)
        if nearest is not None and 1 - likeness[nearest] < novelty:
            self.sightings[nearest] += 1
            self.merged.setdefault(nearest, []).append(step)
        else:
            self.sightings[step] = 1
        while len(self.sightings) > room:
            del self.sightings[self._least_missed()]

    def _least_missed(self) -> int:
        """Of the two events most alike the one seen fewer times, or else the later one."""
        events = list(self.sightings)
        pairs = [(one, other) for other in events for one in events if one < other]
        alike = max(pairs, key=lambda pair: self.similarity[pair[0]][pair[1]], default=events[:1])
        return min(alike, key=lambda event: (self.sightings[event], -event))


class KeyRec(ReprefillPolicy):
    """What is now, and once each what was new."""

    Options = KeyRecOptions

    def reset(self) -> None:
        """No events."""
        self._sightings: dict[int, int] = {}
        """Frame number of an event's first sight -> frames merged in it."""

    def state(self) -> PolicyState:
        """Which of the retained frames are events, and how often they were seen."""
        return {"events": list(self._sightings), "sightings": list(self._sightings.values())}

    def load_state(self, state: PolicyState, memory: StreamMemory) -> None:
        """One count of at least 1 per event."""
        check_names(state, "events", "sightings")
        events, counts = frame_numbers(state, "events"), state["sightings"]
        if not isinstance(counts, list) or not all(type(n) is int and n > 0 for n in counts):
            raise ValueError(f"sightings must be a list of counts, got {counts!r}")
        self._sightings = dict(zip(events, counts, strict=True))

    def retain(self, numbers: list[int], count: int) -> list[int]:
        """Never called: what stays depends on features."""
        raise AssertionError("the policy 'keyrec' absorbs")

    def pick(self, numbers: list[int], count: int) -> list[int]:
        """All that are retained."""
        return list(range(max(0, len(numbers) - count), len(numbers)))

    def absorb(
        self, numbers: list[int], contents: Sequence[Tensor], count: int
    ) -> tuple[list[int], list[Tensor]]:
        """Frames that leave the recent ones are proposed as events. Waits for the device once."""
        room = min(int(self.options.event_share * count), count - 1)
        new = [index for index, number in enumerate(numbers) if number not in self._sightings]
        leaving, recent = new[: room - count], new[room - count :]
        bank = self._proposed(numbers, contents, leaving, room)
        self._sightings = {numbers[event]: seen for event, seen in bank.sightings.items()}
        held = {index: contents[index] for index in (*bank.sightings, *recent)}
        for event, steps in bank.merged.items():
            if event in held:
                before = bank.sightings[event] - len(steps)
                held[event] = _mean(contents[event], before, [contents[step] for step in steps])
        return list(held), list(held.values())

    def _proposed(
        self, numbers: list[int], contents: Sequence[Tensor], leaving: list[int], room: int
    ) -> _Bank:
        """The bank after everything that leaves has been proposed; indices ascend."""
        events = {
            index: self._sightings[number]
            for index, number in enumerate(numbers)
            if number in self._sightings
        }
        if not leaving or not room:
            return _Bank([], events if room else {})
        candidates = torch.stack([contents[index] for index in (*events, *leaving)])
        bank = _Bank(mean_cosines(candidates).tolist(), events)  # events come first, then leaving
        for step in leaving:
            bank.propose(step, self.options.novelty, room)
        return bank


def _mean(content: Tensor, weight: int, others: Sequence[Tensor]) -> Tensor:
    """(t, e) mean of `content`, which counts `weight` times, and others, in its dtype."""
    total = content.float() * weight + torch.stack(list(others)).float().sum(dim=0)
    return (total / (weight + len(others))).to(content.dtype)
