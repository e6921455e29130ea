"""The baselines compute what the engine computes, and the guard sees it when one does not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from plain_release import KV_SIZE, PlainRelease, features_of, open_engine
from tiny import random_frames

from efficiency.guard import SmallStream, objection
from efficiency.paths import PATHS, EnginePath, GrowingPath, ReleasePath, release_path
from efficiency.spans import Spans


@pytest.fixture(params=["lazy", "eager"])
def stream(request, family, load) -> SmallStream:
    """Six chunks, of which three or more are pruned."""
    wide, narrow = (
        load(family, dtype).new_stream(kv_size=48, reindex=request.param)
        for dtype in ("float32", "bfloat16")
    )
    return SmallStream(np.split(random_frames(48), 6), wide, narrow)


def test_all_ways_compute_what_the_plain_loop_does(stream):
    kinds = PATHS if stream.wide.config.reindex == "lazy" else ["release"]
    assert {name: objection(PATHS[name], stream) for name in kinds} == dict.fromkeys(kinds)


def _watch(path, chunks) -> list:
    spans, kept = Spans(path.device, enabled=False), []
    for frames in chunks:
        path.read(path.see(frames), frames, spans)
        path.make_room(spans)
        kept.append(path.kept)
    return kept


def test_the_small_stream_is_pruned_and_ways_leave_no_trace_when_they_answer(stream):
    path = ReleasePath(stream.wide)
    kept = _watch(path, stream.chunks)
    assert sum(rows is not None for rows in kept) >= 2
    before = [(layer.keys.clone(), layer.values.clone()) for layer in path.cache.layers]
    positions = [held.clone() for held in path.positions]
    first = path.answer("what?", 3)
    assert first.per_token_seconds is not None and path.answer("what?", 3).text == first.text
    for layer, (keys, values) in zip(path.cache.layers, before, strict=True):
        assert torch.equal(layer.keys, keys) and torch.equal(layer.values, values)
    assert all(torch.equal(*pair) for pair in zip(path.positions, positions, strict=True))
    assert path.num_bytes == sum(keys.nbytes + values.nbytes for keys, values in before)


def test_the_release_way_is_that_of_the_plain_computation(golden):
    """Against the release written down in numpy and float64: kept tokens, answer."""
    engine = open_engine(golden / "tiny-llava-onevision-0")
    plain = PlainRelease(engine.model, engine.processor.tokenizer)
    path = ReleasePath(engine)
    chunks = np.split(random_frames(48, seed=9), 6)
    for frames, features, kept in zip(
        chunks, features_of(engine), _watch(path, chunks), strict=True
    ):
        plain.read(features)
        visual = len(plain.keys[0]) - plain.prefix
        found = plain.compress()
        assert (kept or [list(range(visual))] * plain.layers) == found
        assert path.engine.config.kv_size == KV_SIZE and len(frames) == 8
    assert [held[0].tolist() for held in path.positions] == plain.positions
    plain.ask("Who came in?", 12)
    prompt = "\nWho came in?<|im_end|><|im_start|>assistant\n"
    assert path.answer(prompt, 12).text == plain.history[-1][1]


class Neighbour(ReleasePath):
    """Scores are off by one token."""

    def make_room(self, spans):
        good = release_path.layer_scores
        release_path.layer_scores = lambda *given: [score.roll(1) for score in good(*given)]
        try:
            super().make_room(spans)
        finally:
            release_path.layer_scores = good


class Stretched(GrowingPath):
    """A gap between chunks."""

    def read(self, chunk, frames, spans):
        super().read(chunk, frames, spans)
        self._next += 3


class Unturned(ReleasePath):
    """Renumbered without turning the keys; noticed where positions are renumbered."""

    def _shrink(self, *given):
        angles, self._angles = self._angles, lambda at: angles(at * 0)
        try:
            super()._shrink(*given)
        finally:
            self._angles = angles


class Careless(GrowingPath):
    """Errs ten times as much in half precision."""

    def forced_logits(self, prompt, tokens):
        logits = super().forced_logits(prompt, tokens)
        if self.engine.dtype == torch.float32:
            return logits
        return logits * 1.2


class Forgetful(EnginePath):
    """Answers from nothing."""

    name = "forgetful"

    def answer(self, prompt, max_new_tokens):
        fresh = EnginePath(self.engine)
        return fresh.answer(prompt, max_new_tokens)


BROKEN = {
    Neighbour: "other tokens are kept",
    Stretched: "the answer is|logits differ",
    Unturned: "other tokens are kept|the answer is|logits differ",
    Careless: "logits in bfloat16 err by",
    Forgetful: "the answer is",
}


@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
def test_the_guard_objects(kind, load):
    import re

    wide, narrow = (
        load("llava", dtype).new_stream(kv_size=48, reindex="eager")
        for dtype in ("float32", "bfloat16")
    )
    reason = objection(kind, SmallStream(np.split(random_frames(48), 6), wide, narrow))
    assert reason is not None and re.search(BROKEN[kind], reason), reason
