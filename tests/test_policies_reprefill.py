"""Re-prefill baselines: the same as reading the chosen frames with the checkpoint's own model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from independent import chunk_shape, embed_frames, embed_text, place, plain_forward
from tiny import TOLERANCE, ask, largest_error, open_stream, random_frames, watch

from hermes import ContextLimitError
from hermes.policies.uniform_frames import evenly
from inference import FrameError

BASELINES = ("last_frames", "uniform_frames", "uniform_recent")


def _shown(engine) -> list[int]:
    return [step.number for step in engine.kept.chosen()]


def _hidden_of_question(engine, question: str) -> torch.Tensor:
    with engine.memory.scratch():
        engine.kept.prepare()
        return engine.read_text(question, output="all")


@pytest.mark.parametrize("cached", [True, False])
def test_last_frames_equals_a_fresh_prefill(base, cached):
    """transformers' own forward over prefix, the last eight frames and the question."""
    frames, question = random_frames(24), "\nWho?<|im_end|>"
    options = {"num_frames": 8, "cache_features": cached}
    engine = open_stream(base, policy="last_frames", policy_options=options)
    watch(engine, frames, chunk_frames=6)

    pieces = [
        embed_text(engine, engine.init_prompt),
        embed_frames(engine, frames[-8:]),
        embed_text(engine, question),
    ]
    shapes = [(len(pieces[0]),), chunk_shape(engine.family, 8), (len(pieces[2]),)]
    start, positions = 0, []
    for shape in shapes:
        positions.append(place(engine.family, start, shape, time_step=4))
        start = positions[-1].max() + 1
    expected = plain_forward(engine, torch.cat(pieces), np.concatenate(positions, axis=1))

    hidden = _hidden_of_question(engine, question)
    assert largest_error(hidden, expected.hidden[-len(hidden) :]) < TOLERANCE


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_blank_frames_are_the_last_frames_of_a_black_video(base, cached, shared):
    """Whatever was watched, and whether another stream saw the frames for it or not."""
    options = {"cache_features": cached}
    hidden = {}
    for policy, frames in (
        ("blank_frames", random_frames(12)),
        ("last_frames", torch.zeros_like(torch.as_tensor(random_frames(12)))),
        ("last_frames", random_frames(12)),
    ):
        engine = open_stream(base, policy=policy, kv_size=16, policy_options=options)
        engine.encode_init_prompt()
        for part in (frames[:6], frames[6:]):
            engine.encode_video_chunk(part, seen=engine.encode_features(part) if shared else None)
        is_black = not np.any(np.asarray(frames))
        hidden[policy, is_black] = _hidden_of_question(engine, "\nWho?<|im_end|>")
        assert engine.total_processed_frames == 12
    blank = hidden["blank_frames", False]
    assert torch.equal(blank, hidden["last_frames", True])
    assert largest_error(blank, hidden["last_frames", False]) > 0.01


def test_the_budget_says_how_many_frames(base):
    engine = open_stream(base, policy="last_frames", kv_size=23)
    watch(engine, random_frames(24))
    frames_per_step = 1 if engine.family == "llava" else 2
    assert _shown(engine) == [24 - frames_per_step * k for k in range(5, 0, -1)]


@pytest.mark.parametrize("policy", BASELINES)
def test_memory_is_bounded_and_the_past_is_covered(base, policy):
    engine = open_stream(base, policy=policy, kv_size=24)
    sizes = []
    for step in range(12):
        watch(engine, random_frames(8, seed=step))
        sizes.append(engine.kept.num_bytes)
    assert max(sizes) <= 2 * 24 * engine.text_config.hidden_size * 4
    assert len(set(sizes[6:])) == 1
    shown = _shown(engine)
    assert len(shown) == 6 and shown == sorted(set(shown))
    assert shown[-1] >= 94, "the newest is always among them"
    if policy != "last_frames":
        assert shown[0] == 0
    if policy == "uniform_frames":
        assert max(np.diff(shown)) <= 2 * min(np.diff(shown))
    if policy == "uniform_recent":
        step = 1 if engine.family == "llava" else 2
        assert shown[-3:] == [96 - 3 * step, 96 - 2 * step, 96 - step]


@pytest.mark.parametrize("cached", [True, False])
def test_both_figures_of_the_first_token_are_reported(base, cached):
    options = {"cache_features": cached}
    engine = open_stream(base, policy="last_frames", policy_options=options)
    watch(engine, random_frames(8))
    ask(engine)
    timing = engine.last_timing
    assert 0 < timing.first_token_cached_seconds < timing.first_token_uncached_seconds
    ours = timing.first_token_cached_seconds if cached else timing.first_token_uncached_seconds
    assert timing.first_token_seconds == ours


def test_both_figures_are_one_for_a_memory(base):
    engine = open_stream(base, policy="hermes")
    watch(engine, random_frames(4))
    ask(engine)
    timing = engine.last_timing
    assert timing.first_token_cached_seconds == timing.first_token_seconds
    assert timing.first_token_uncached_seconds == timing.first_token_seconds


def test_cached_and_uncached_frames_answer_alike(base):
    answers = set()
    for cached in (True, False):
        options = {"cache_features": cached}
        engine = open_stream(base, policy="uniform_recent", policy_options=options)
        watch(engine, random_frames(21), chunk_frames=7)
        answers.add(ask(engine))
    assert len(answers) == 1


def test_clearing_forgets_the_frames(base):
    engine = open_stream(base, policy="last_frames")
    watch(engine, random_frames(8))
    engine.clear_cache()
    assert engine.kept.num_bytes == 0 and _shown(engine) == []


def test_a_question_before_the_first_frame(base):
    engine = open_stream(base, policy="last_frames")
    engine.encode_init_prompt()
    assert isinstance(ask(engine), str)


def test_no_frame_fits_the_budget(base):
    engine = open_stream(base, policy="last_frames", kv_size=3)
    with pytest.raises(FrameError, match=r"needs 4 visual tokens but kv_size is 3.*num_frames"):
        engine.encode_video_chunk(random_frames(2))


def test_more_frames_than_positions(base):
    engine = open_stream(base, policy="last_frames", kv_size=400, position_limit=60)
    watch(engine, random_frames(16))
    with pytest.raises(ContextLimitError, match="lower num_frames or kv_size"):
        ask(engine)
    assert engine.memory.num_visual == 0


@settings(deadline=None, max_examples=100)
@given(st.sets(st.integers(0, 500), min_size=1, max_size=60), st.integers(1, 40))
def test_evenly_picks_distinct_ascending_frames(numbers, count):
    ordered = sorted(numbers)
    picked = evenly(ordered, count)
    assert len(picked) == min(count, len(ordered))
    assert picked == sorted(set(picked))
    assert picked[-1] == len(ordered) - 1
    if count > 1:
        assert picked[0] == 0
