"""keyrec against a plain loop over its description; events in a stream that was watched."""

from __future__ import annotations

import pytest
import torch
from policy_memory import policy_of
from tiny import open_stream, random_frames, watch

from hermes.policies.keyrec import KeyRec

COUNT, LENGTH, WIDTH = 6, 4, 8


def _scenes(order: str, seed: int = 0) -> list[torch.Tensor]:
    """Features (t, e) of one frame per letter: the scene of that letter and a little noise; small
    letters are the scene with a change of about 0.15 in cosine."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(2, 26, LENGTH, WIDTH, generator=generator)
    frames = []
    for letter in order:
        scene, change = drawn[:, ord(letter.upper()) - ord("A")]
        noise = 0.02 * torch.randn(LENGTH, WIDTH, generator=generator)
        frames.append(scene + noise + 0.7 * letter.islower() * change)
    return frames


def _cosine(one: list[list[float]], other: list[list[float]]) -> float:
    """Mean over places."""
    found = []
    for left, right in zip(one, other, strict=True):
        product = sum(a * b for a, b in zip(left, right, strict=True))
        found.append(product / (sum(a * a for a in left) * sum(b * b for b in right)) ** 0.5)
    return sum(found) / len(found)


class _Plain:
    """Recent frames and events as lists of numbers."""

    def __init__(self, room: int, novelty: float) -> None:
        self.room, self.novelty = room, novelty
        self.recent: list[tuple[int, list]] = []
        self.events: list[dict] = []
        """number, content as before the chunk, all its sightings, and how many those are."""

    def watch(self, frames: list[tuple[int, list]]) -> None:
        self.recent += frames
        while len(self.recent) > COUNT - self.room:
            self._propose(*self.recent.pop(0))
        for event in self.events:
            event["content"] = event["mean"]

    def _propose(self, number: int, content: list) -> None:
        ranked = sorted(self.events, key=lambda event: -_cosine(event["content"], content))
        if ranked and 1 - _cosine(ranked[0]["content"], content) < self.novelty:
            event, seen = ranked[0], ranked[0]["seen"]
            event["mean"] = [
                [(seen * a + b) / (seen + 1) for a, b in zip(left, right, strict=True)]
                for left, right in zip(event["mean"], content, strict=True)
            ]
            event["seen"] += 1
        else:
            self.events.append({"number": number, "content": content, "mean": content, "seen": 1})
        if len(self.events) > self.room:
            self._evict()

    def _evict(self) -> None:
        pairs = [(a, b) for i, a in enumerate(self.events) for b in self.events[i + 1 :]]
        first, second = max(pairs, key=lambda p: _cosine(p[0]["content"], p[1]["content"]))
        self.events.remove(first if first["seen"] < second["seen"] else second)

    def held(self) -> list[tuple[int, list]]:
        return [(event["number"], event["mean"]) for event in self.events] + self.recent


ORDERS = ("AABBAACDABEFGAHHIAB", "ABCDEFGHIJKLMNOPQRST", "AaBAabCcDAaC", "A" * 14)


@pytest.mark.parametrize("chunk_frames", [1, 3, 8])
@pytest.mark.parametrize("order", ORDERS)
def test_recent_frames_and_events(order, chunk_frames):
    frames, share = _scenes(order), 0.7
    policy, plain = (
        policy_of("keyrec", 24, event_share=share, novelty=0.1),
        _Plain(int(share * COUNT), 0.1),
    )
    assert isinstance(policy, KeyRec)
    held: list[tuple[int, torch.Tensor]] = []
    for start in range(0, len(frames), chunk_frames):
        new = list(enumerate(frames))[start : start + chunk_frames]
        plain.watch([(number, content.tolist()) for number, content in new])
        numbers, contents = map(list, zip(*held, *new, strict=True))
        kept, contents = policy.absorb(numbers, contents, COUNT)
        held = [(numbers[index], held) for index, held in zip(kept, contents, strict=True)]
        assert [number for number, _ in held] == [number for number, _ in plain.held()]
        assert len(held) <= COUNT
        for (_, ours), (_, theirs) in zip(held, plain.held(), strict=True):
            assert torch.allclose(ours, torch.tensor(theirs), atol=1e-5)
    assert policy.state()["sightings"] == [event["seen"] for event in plain.events]


def test_a_scene_that_comes_back_is_one_event_and_outlives_the_recent_frames(base):
    """What was seen once, long ago, is shown to a question, and at its own time."""
    step = 1 if base.family == "llava" else 2
    once, often = random_frames(1, seed=1), random_frames(1, seed=2)
    engine = open_stream(base, policy="keyrec", kv_size=24, policy_options={"novelty": 1e-3})
    for scene, repeats in ((often, 4), (once, 1), (often, 12)):
        watch(engine, scene.repeat(repeats * step, axis=0), chunk_frames=4 * step)
    shown = [step.number for step in engine.kept.chosen()]
    assert shown == [0, 4 * step, 14 * step, 15 * step, 16 * step]
    assert engine.policy.state() == {"events": [0, 4 * step], "sightings": [13, 1]}
    expected = engine.see(torch.from_numpy(once.repeat(step, axis=0))).depths
    assert torch.allclose(engine.kept.chosen()[1].content, expected, atol=1e-5)


def test_events_are_made_of_features():
    with pytest.raises(ValueError, match="cache_features must be true"):
        policy_of("keyrec", 24, cache_features=False)


@pytest.mark.parametrize(
    "state",
    [
        {"events": [3], "sightings": [0]},
        {"events": [3], "sightings": [1, 2]},
        {"events": [4, 3], "sightings": [1, 1]},
        {"events": [3], "sightings": "many"},
        {"events": [3]},
    ],
)
def test_a_bank_that_cannot_be_is_refused(state):
    with pytest.raises(ValueError):
        policy_of("keyrec", 24).load_state(state, None)
