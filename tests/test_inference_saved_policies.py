"""Under every policy: saved in the middle and continued elsewhere, bit for bit the same stream."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from conftest import FAMILIES
from pretended_stream import CHUNK_FRAMES, KV_SIZE, stream_on_pretended
from tiny import ask, assert_same, contents, open_stream, random_frames, watch

from hermes import SnapshotError
from hermes.policies import POLICIES
from hermes.policies.recent import Recent
from hermes.saved import checked_file
from inference.saved.stream_file import load_stream, save_stream

OTHER_PATHS: list[tuple[str, dict[str, Any]]] = [
    ("rekv", {"quantised": True, "local_share": 0.5, "host_bytes_limit": 100_000}),
    ("two_speed_recall", {"quantised": False, "recall_share": 1.0}),
    ("two_speed", {"attention_weight": 0.5, "recent_share": 0.5}),
    ("last_frames", {"cache_features": False}),
    ("uniform_recent", {"cache_features": False}),
]
CASES = [(policy, {}) for policy in sorted(POLICIES)] + OTHER_PATHS
NUM_BEFORE, NUM_CHUNKS = 3, 6
"""Chunks before the first question, and in all; from the second on something leaves."""
MOMENTS = ("after compressing", "before compressing")
MOVED = ["live_vlm", "rekv", "two_speed_recall", "last_frames", "confirmed_novelty"]


def _turns(first, second):
    """Every pair of the two, and each of the first with one family here and the other there."""
    return [
        (family, one, other)
        for turn, one in enumerate(first)
        for family, other in zip(FAMILIES[:: (-1) ** turn], second, strict=True)
    ]


def _named(value):
    return value[0] if isinstance(value, tuple) else None


def _read(engine, chunk):
    engine.encode_video_chunk(random_frames(CHUNK_FRAMES[engine.family], seed=chunk))


def _watch(engine, chunks):
    for chunk in chunks:
        _read(engine, chunk)
        engine.predict_and_compress()


def _begin(engine, moment):
    _watch(engine, range(NUM_BEFORE))
    ask(engine)
    _read(engine, NUM_BEFORE)
    if moment == MOMENTS[0]:
        engine.predict_and_compress()


def _finish(engine, asks_first=True):
    """Answers: right away if asked, so that what was loaded is read before it changes; later."""
    answers = [ask(engine, "now")] if asks_first else []
    engine.predict_and_compress()
    for chunk in range(NUM_BEFORE + 1, NUM_CHUNKS):
        _watch(engine, [chunk])
        answers.append(ask(engine, "!"))
    return answers


@pytest.mark.parametrize(("family", "case", "moment"), _turns(CASES, MOMENTS), ids=_named)
def test_a_saved_stream_goes_on_as_if_never_interrupted(base, tmp_path, case, moment):
    settings = {"policy": case[0], "policy_options": case[1], "kv_size": KV_SIZE}
    whole, path = open_stream(base, **settings), tmp_path / "stream"
    _begin(whole, moment)
    save_stream(whole, path)
    later = open_stream(base, **settings)
    watch(later, random_frames(12, seed=99))  # another stream, to be forgotten
    load_stream(later, path)
    assert_same(contents(later), contents(whole))
    save_stream(later, tmp_path / "again")
    again, first = (checked_file.read(tmp_path / name) for name in ("again", "stream"))
    assert again.texts == first.texts
    assert_same(again.tensors, first.tensors)
    assert _finish(later) == _finish(whole)
    assert_same(contents(later), contents(whole))
    assert later.conv_history == whole.conv_history


@pytest.mark.parametrize(("family", "policy", "asks_first"), _turns(MOVED, (True, False)))
def test_states_move_between_devices(base, tmp_path, policy, asks_first):
    """Begun on two GPUs, continued on the CPU; begun on the CPU, continued on two GPUs."""
    settings = {"policy": policy, "kv_size": KV_SIZE}
    whole = open_stream(base, **settings)
    _begin(whole, MOMENTS[1])
    save_stream(whole, tmp_path / "cpu")
    with stream_on_pretended(base, 2, **settings) as (engine, _):
        _begin(engine, MOMENTS[1])
        save_stream(engine, tmp_path / "gpus")
        load_stream(engine, tmp_path / "cpu")
        answers, held = _finish(engine, asks_first), contents(engine)
    later = open_stream(base, **settings)
    load_stream(later, tmp_path / "gpus")
    assert _finish(later, asks_first) == answers == _finish(whole, asks_first)
    assert_same(contents(later), contents(whole))
    assert_same(held, contents(whole))


def _altered(path, change):
    file = checked_file.read(path)
    change(file.tensors, file.texts)
    checked_file.write(path, file.tensors, file.texts)


def _no_state(tensors, texts):
    texts.pop("policy")
    for name in [name for name in tensors if name.startswith("policy.")]:
        del tensors[name]


def _first_infinite(tensors, texts):
    name = min(name for name in tensors if name.startswith("policy."))
    tensors[name] = tensors[name].index_fill(0, torch.tensor([0]), float("inf"))


def _first_shorter(tensors, texts):
    name = min(name for name in tensors if name.startswith("policy."))
    tensors[name] = tensors[name][..., :-1].contiguous()


def _nothing_said(tensors, texts):
    texts["policy"] = "{}"


def _unknown(tensors, texts):
    tensors["policy.mood"] = torch.zeros(1)


def _tensors_in_words(tensors, texts):
    state = json.loads(texts["policy"])
    for name in [name for name in tensors if name.startswith("policy.")]:
        del tensors[name]
        state[name.removeprefix("policy.")] = "many"
    texts["policy"] = json.dumps(state)


def _frames_backwards(tensors, texts):
    state = json.loads(texts["policy"])
    state["steps"].reverse()
    texts["policy"] = json.dumps(state)


def _far_keyframe(tensors, texts):
    texts["policy"] = '{"keyframes": [999], "last_aged": 2}'


def _keyframes_in_words(tensors, texts):
    texts["policy"] = '{"keyframes": "all", "last_aged": 2}'


def _negative(tensors, texts):
    texts["policy"] = '{"last_frame": -2}'


REFUSED = [
    *((policy, _no_state) for policy in ("two_speed", "stream_mem", "live_vlm", "rekv")),
    *((policy, _no_state) for policy in ("two_speed_recall", "last_frames", "uniform_frames")),
    *((policy, _first_infinite) for policy in ("live_vlm", "rekv", "last_frames")),
    *((policy, _first_shorter) for policy in ("live_vlm", "rekv", "last_frames")),
    *((policy, _tensors_in_words) for policy in ("live_vlm", "rekv", "last_frames")),
    ("last_frames", _frames_backwards),
    *((policy, _nothing_said) for policy in ("two_speed", "rekv", "last_frames")),
    *((policy, _unknown) for policy in sorted(POLICIES)),
    *(("two_speed", change) for change in (_far_keyframe, _keyframes_in_words)),
    ("stream_mem", _negative),
]


@pytest.mark.parametrize(("policy", "change"), REFUSED)
def test_another_state_is_refused_before_anything_is_touched(load, tmp_path, policy, change):
    base, path = load("llava"), tmp_path / "stream"
    settings = {"policy": policy, "kv_size": KV_SIZE}
    engine = open_stream(base, **settings)
    _begin(engine, MOMENTS[1])
    save_stream(engine, path)
    _altered(path, change)
    before, kept = contents(engine), (engine.policy, engine.kept)
    with pytest.raises(SnapshotError, match=f"the state of the policy '{policy}' is missing or"):
        load_stream(engine, path)
    assert_same(contents(engine), before)
    assert (engine.policy, engine.kept) == kept


def test_a_policy_that_hides_its_state_cannot_be_saved(load, tmp_path, monkeypatch):
    engine = open_stream(load("llava"), policy="recent")
    watch(engine, random_frames(8))
    monkeypatch.setattr(Recent, "reset", lambda self: None)
    with pytest.raises(SnapshotError, match="cannot be saved until it has a state"):
        save_stream(engine, tmp_path / "stream")
    assert not list(tmp_path.iterdir())
