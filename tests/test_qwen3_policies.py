"""Qwen3-VL: what every policy promises, stamps among the tokens; its settings; bad input."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
import torch
from qwen3_reference import FPS, GRID, frames_of
from tiny import ask, assert_same, contents, open_stream

from hermes.policies import POLICIES
from hermes.store.provenance import NO_PATCH, SUMMARY
from inference import FrameError, load_model, load_stream, save_stream
from inference.errors import ModelLoadError

PICTURE, TEXT = GRID[0] * GRID[1], 7
"""Tokens of a temporal patch; its text has one more from ten seconds on."""
KV_SIZE = 4 * (PICTURE + TEXT) - 5
CHUNK_FRAMES, NUM_CHUNKS = 6, 5


@pytest.fixture(params=sorted(POLICIES))
def policy(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def run(load):
    """(dtype, policy) -> what one stream showed; every stream runs once."""
    return cache(lambda dtype, policy: _run(load("qwen3", dtype), policy))


def _run(base, policy: str, **named) -> dict:
    engine = open_stream(base, policy=policy, kv_size=KV_SIZE, sample_fps=FPS, **named)
    engine.encode_init_prompt()
    prefix, kept = contents(engine), []
    for step in range(NUM_CHUNKS):
        engine.encode_video_chunk(frames_of(CHUNK_FRAMES, seed=step))
        before = engine.memory.num_visual
        engine.predict_and_compress()
        if engine.last_compression.kept is not None:
            kept.append((before, engine.last_compression.kept, _texts(engine)))
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


def _texts(engine) -> list[dict[int, tuple[int, int]]]:
    """Per layer: frame -> its picture and its text tokens."""
    memory, found = engine.memory, []
    for layer in range(memory.num_layers):
        stack, index = memory.place_of(layer)
        frames = stack.origin.frame[index, stack.visual]
        is_text = stack.origin.patch[index, stack.visual] == NO_PATCH
        numbers = set(frames.tolist()) - {SUMMARY}
        found.append(
            {
                number: tuple(
                    int(((frames == number) & kind).sum()) for kind in (~is_text, is_text)
                )
                for number in numbers
            }
        )
    return found


def _text_of(frame: int) -> int:
    return TEXT + ((frame + 0.5) / FPS >= 10)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_contracts(run, dtype, policy):
    seen = run(dtype, policy)
    engine, memory = seen["engine"], seen["engine"].memory
    assert bool(seen["kept"]) == engine.policy.evicts, "the stream must be long enough to evict"
    for before, layers, texts in seen["kept"]:
        folds = [engine.policy.folds(layer) for layer in range(len(layers))]
        assert len({rows.numel() + fold for rows, fold in zip(layers, folds, strict=True)}) == 1
        for rows in layers:
            assert rows.numel() <= KV_SIZE
            assert (rows.diff() > 0).all() and rows.min() >= 0 and rows.max() < before
        for layer in texts:
            for frame, (pictures, text) in layer.items():
                assert pictures > 0 and text == _text_of(frame), (frame, pictures, text)
    if engine.policy.evicts:
        assert memory.num_visual <= KV_SIZE
    count = memory.num_prefix
    for name in ("keys", "values", "rotated"):
        assert torch.equal(seen["after"][name][:, :, :count], seen["prefix"][name])
    assert_same(seen["watched"], seen["after"])
    memory.check_integrity(engine.max_positions)


def test_the_same_stream_twice(run, policy, load):
    first, second = run("float32", policy), _run(load("qwen3"), policy)
    assert_same(first["watched"], second["watched"])
    assert first["answers"] == second["answers"]


def test_evicting_nothing_changes_nothing(load, policy):
    """With room for everything all policies are the full cache, re-prefill baselines included."""
    held, answers = [], []
    for name in ("none", policy):
        engine = open_stream(load("qwen3"), policy=name, kv_size=600, sample_fps=FPS)
        engine.encode_video_chunk(frames_of(8, seed=9))
        engine.predict_and_compress()
        answers.append(ask(engine))
        if not engine.policy.reprefills:
            engine.memory.text_first()
        held.append(contents(engine))
    is_blind = getattr(POLICIES[policy], "is_blind", False)
    assert (answers[0] == answers[1]) != is_blind
    if not POLICIES[policy].reprefills:
        assert_same(held[0], held[1])


def test_a_stream_is_saved_and_continued(load, policy, tmp_path):
    """Stamps, marks and whatever the policy remembers included."""
    base = load("qwen3")
    usual, other = (
        open_stream(base, policy=policy, kv_size=KV_SIZE, sample_fps=FPS) for _ in range(2)
    )
    for step in range(3):
        usual.encode_video_chunk(frames_of(CHUNK_FRAMES, seed=step))
    save_stream(usual, tmp_path / "stream.safetensors")
    load_stream(other, tmp_path / "stream.safetensors")
    answers = []
    for engine in (usual, other):
        engine.encode_video_chunk(frames_of(CHUNK_FRAMES, seed=7))
        engine.predict_and_compress()
        answers.append(ask(engine))
    assert answers[0] == answers[1]
    assert_same(contents(usual), contents(other))


def test_bands_with_budgets_of_their_own(load):
    seen = _run(load("qwen3"), "hermes", budget_weights=(1, 1.5, 2))
    engine = seen["engine"]
    held = {stack.num_visual for stack in engine.memory.stacks}
    assert len(held) == 3 and held <= set(engine.policy.budgets)
    for _, _, texts in seen["kept"]:
        for layer in texts:
            assert all(p > 0 and text == _text_of(frame) for frame, (p, text) in layer.items())
    engine.memory.check_integrity(engine.max_positions)


@pytest.mark.parametrize("frame_text", ["scored", "dropped"])
def test_the_other_rules_for_stamps(load, policy, frame_text):
    seen = _run(load("qwen3"), policy, frame_text=frame_text)
    engine = seen["engine"]
    engine.memory.check_integrity(engine.max_positions)
    assert_same(seen["watched"], seen["after"])
    for _, _, texts in seen["kept"] if frame_text == "dropped" else []:
        assert not any(text for layer in texts for _, text in layer.values())
    assert engine.describe()["frame_text"] == frame_text


def test_scored_stamps_leave_their_frames(load):
    """Or the rule would not be another one."""
    seen = _run(load("qwen3"), "hermes", frame_text="scored")
    _, _, texts = seen["kept"][-1]
    assert any(text not in (0, _text_of(f)) for layer in texts for f, (_, text) in layer.items())


def test_an_odd_chunk_is_stamped_with_its_last_frame(load):
    """As in transformers' processor, the last frame is repeated and so is its time."""
    engine = open_stream(load("qwen3"), kv_size=KV_SIZE, sample_fps=FPS)
    stamps, frame_text = [], engine.frame_text
    engine.frame_text = lambda seconds: stamps.append(seconds) or frame_text(seconds)
    engine.encode_video_chunk(frames_of(3))
    assert stamps[:2] == [0.25, 1.0]
    assert engine.memory.num_visual == 2 * (PICTURE + TEXT)


def test_times_are_those_of_the_frames(load):
    """A stream that was joined late, or an uneven one, is stamped by its own clock."""
    engine = open_stream(load("qwen3"), kv_size=KV_SIZE, sample_fps=FPS)
    stamps, frame_text = [], engine.frame_text
    engine.frame_text = lambda seconds: stamps.append(frame_text(seconds)[0]) or frame_text(seconds)
    engine.encode_video_chunk(frames_of(4), times_seconds=[100.0, 100.4, 3600.0, 3601.0])
    assert [stamp.split("|")[0] for stamp in stamps] == ["<100.2 seconds><", "<3600.5 seconds><"]


@pytest.mark.parametrize("policy", ["hermes", "last_frames"])
def test_a_budget_below_one_stamped_frame_is_refused(load, policy):
    engine = open_stream(load("qwen3"), policy=policy, kv_size=PICTURE + TEXT - 1, sample_fps=FPS)
    with pytest.raises(FrameError, match=f"one frame needs {PICTURE + TEXT} visual tokens"):
        engine.encode_video_chunk(frames_of(4))


def test_times_have_to_be_as_many_as_frames(load):
    engine = open_stream(load("qwen3"), kv_size=KV_SIZE)
    with pytest.raises(FrameError, match="3 times were given for 4 frames"):
        engine.encode_video_chunk(frames_of(4), times_seconds=[0, 1, 2])


def test_prompts_are_part_of_the_hash_and_of_the_saved_stream(load, tmp_path):
    base = load("qwen3")
    new, old = (open_stream(base, sample_fps=FPS, outer_markers=outer) for outer in (True, False))
    assert new.describe()["prompts_hash"] != old.describe()["prompts_hash"]
    new.encode_init_prompt()
    save_stream(new, tmp_path / "stream.safetensors")
    with pytest.raises(ValueError, match="outer_markers is True in the file and False here"):
        load_stream(old, tmp_path / "stream.safetensors")


@pytest.mark.parametrize(("name", "value"), [("frame_text", "kept"), ("outer_markers", "no")])
def test_unknown_settings_are_refused(load, name, value):
    with pytest.raises(ValueError, match=name):
        open_stream(load("qwen3"), **{name: value})


def _checkpoint(tmp_path, **config):
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


def test_linear_attention_is_refused_with_its_reason(tmp_path):
    folder = _checkpoint(tmp_path, model_type="qwen3_5", architectures=["Qwen3_5Model"])
    with pytest.raises(ModelLoadError, match=r"linear attention.*nothing can be evicted from it"):
        load_model(folder, kv_size=24)


def test_another_family_is_refused(tmp_path):
    folder = _checkpoint(tmp_path, model_type="qwen3")
    with pytest.raises(ModelLoadError, match=r"'qwen3' checkpoint; known: .*qwen3_vl"):
        load_model(folder, kv_size=24)


def test_constants_and_prompt(load):
    engine = open_stream(load("qwen3"))
    assert type(engine).default_sample_fps == 2.0
    assert engine.config.working_recency_weight == (0.75, 0.15), "Eq. 3: nothing was released"
    assert np.isclose(engine.config.sensory_decay, 20)
