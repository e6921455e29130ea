"""What every policy promises, on both families and in half precision (issue: contracts)."""

from __future__ import annotations

import dataclasses
import json
from functools import cache

import pytest
import torch
from tiny import ask, assert_same, contents, open_stream, random_frames

from hermes.policies import POLICIES

KV_SIZE = 16
"""Four frames (LLaVA) or pairs of frames (Qwen)."""
CHUNKS = 4
CHUNK_FRAMES = {"llava": 3, "qwen": 6}


@pytest.fixture(params=sorted(POLICIES))
def policy(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def run(load):
    """(family, dtype, policy) -> what one stream showed; every stream runs once."""
    return cache(lambda family, dtype, policy: _run(load(family, dtype), policy))


def _run(base, policy: str) -> dict:
    engine = open_stream(base, policy=policy, kv_size=KV_SIZE)
    engine.encode_init_prompt()
    prefix, kept = contents(engine), []
    for step in range(CHUNKS):
        frames = random_frames(CHUNK_FRAMES[engine.family], seed=step)
        engine.encode_video_chunk(frames)
        before = engine.memory.num_visual
        engine.predict_and_compress()
        if engine.last_compression.kept is not None:
            kept.append((before, engine.last_compression.kept))
    watched = contents(engine)
    answers = [ask(engine), ask(engine, "!")]
    return {
        "engine": engine,
        "prefix": prefix,
        "kept": kept,
        "watched": watched,
        "after": contents(engine),
        "answers": answers,
    }


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_contracts(run, family, dtype, policy):
    seen = run(family, dtype, policy)
    engine, memory = seen["engine"], seen["engine"].memory
    assert bool(seen["kept"]) == engine.policy.evicts, "the stream must be long enough to evict"
    for before, layers in seen["kept"]:
        folds = [engine.policy.folds(layer) for layer in range(len(layers))]
        assert len({rows.numel() + fold for rows, fold in zip(layers, folds, strict=True)}) == 1
        for rows in layers:
            assert rows.numel() <= KV_SIZE
            assert (rows.diff() > 0).all(), "sorted and unique"
            assert rows.min() >= 0 and rows.max() < before
    if engine.policy.evicts:
        assert memory.num_visual <= KV_SIZE
    count = memory.num_prefix
    for name in ("keys", "values", "rotated"):
        assert torch.equal(seen["after"][name][:, :, :count], seen["prefix"][name])
    assert_same(seen["watched"], seen["after"])
    memory.check_integrity(engine.max_positions)


def test_the_same_stream_twice(run, family, policy, load):
    first = run(family, "float32", policy)
    second = _run(load(family), policy)
    assert_same(first["watched"], second["watched"])
    assert first["answers"] == second["answers"]


def test_evicting_nothing_changes_nothing(base, policy):
    """With room for everything all policies are the full cache, re-prefill baselines included; but
    for one that sees nothing."""
    frames = random_frames(8, seed=9)
    held, answers = [], []
    for name in ("none", policy):
        engine = open_stream(base, policy=name, kv_size=400)
        engine.encode_video_chunk(frames)
        engine.predict_and_compress()
        answers.append(ask(engine))
        held.append(contents(engine))
    is_blind = getattr(POLICIES[policy], "is_blind", False)
    assert (answers[0] == answers[1]) != is_blind
    if not POLICIES[policy].reprefills:
        assert_same(held[0], held[1])


def test_work_at_question_time_is_declared(run, family, policy):
    engine = run(family, "float32", policy)["engine"]
    with engine.memory.scratch():
        memory, recall = engine.kept.prepare()
    works = recall is not None or memory is not engine.memory or engine.policy.reprefills
    assert works == engine.policy.works_at_question_time
    assert engine.describe()["works_at_question_time"] == works


def test_describe_records_every_option(run, family, policy):
    engine = run(family, "float32", policy)["engine"]
    recorded = engine.describe()["policy_options"]
    assert set(recorded) == {field.name for field in dataclasses.fields(engine.policy.Options)}
    json.dumps(engine.describe())
