"""Every policy and family on two pretended GPUs, every policy on one: no device mismatch, the CPU's
stream bit for bit, and no more waits and copies than docs/benchmarks.md says.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import FAMILIES
from pretended_device import move
from pretended_stream import KV_SIZE, Run, run_stream, stream_on_pretended
from tiny import ask, assert_same, contents, open_stream, random_frames, watch

from hermes.policies import POLICIES
from inference import llavaov_hermes
from inference.saved.stream_file import load_stream, save_stream

RECORD = Path(__file__).parent.parent / "docs" / "benchmarks" / "devices.json"
RUNS = [
    (family, policy, num_devices)
    for turn, policy in enumerate(sorted(POLICIES))
    for family in FAMILIES
    for num_devices in (1, 2)
    if num_devices == 2 or family == FAMILIES[turn % 2]
]
"""Every memory of each family on two GPUs, and on one GPU of one family, in turn."""


@pytest.fixture(scope="module")
def on_cpu(load):
    """(family, policy) -> the stream on the CPU; each runs once."""
    return cache(
        lambda family, policy: run_stream(open_stream(load(family), policy=policy, kv_size=KV_SIZE))
    )


@pytest.mark.parametrize(("family", "policy", "num_devices"), RUNS)
def test_a_stream_on_pretended_gpus_is_the_stream_on_the_cpu(
    load, family, on_cpu, policy, num_devices
):
    expected = on_cpu(family, policy)
    with stream_on_pretended(load(family), num_devices, policy=policy) as (engine, traffic):
        seen = run_stream(engine, traffic)
        places = {str(layer.device) for layer in engine.memory.layers}
    assert places == {f"cuda:{index}" for index in range(num_devices)}
    assert seen.answers == expected.answers
    assert_same(seen.held, expected.held)
    check_limits(seen, policy, num_devices)
    recorded = json.loads(RECORD.read_text())["costs"][family][policy][str(num_devices)]
    hidden = {place for places in seen.places.values() for place in places if place[0] == "index"}
    assert not hidden, "torch copies host indices without being asked"
    for part, cost in seen.costs.items():
        found = {name: value for name, value in cost._asdict().items() if name != "operators"}
        assert found == {name: recorded[part][name] for name in found}, (
            f"{part}: {sorted(seen.places[part])}; if meant, run scripts/count_waits.py"
        )


def check_limits(seen: Run, policy: str, num_devices: int) -> None:
    """Watching reads no clock; where it is all the work, the host hardly takes part."""
    chunk = seen.costs["chunk"]
    assert chunk.clock_waits == 0, sorted(seen.places["chunk"])
    if num_devices == 1 and not POLICIES[policy].works_at_question_time:
        assert chunk.waits <= 2, sorted(seen.places["chunk"])
        assert seen.uploads["chunk"] <= 4, sorted(seen.places["chunk"])


OTHER_PATHS = [
    {"policy": "hermes", "summary": "weighted", "reindex": "eager"},
    {"policy": "hermes", "probe": "exact", "position_limit": 420, "reindex_margin": 350},
    {"policy": "stratified", "policy_options": {"num_slices": 2, "floor_share": 1.0}},
    {"policy": "infinipot_v", "reindex": "eager"},
    {"policy": "live_vlm", "policy_options": {"max_queries": 3, "num_buckets": 2}},
    {"policy": "two_speed", "policy_options": {"attention_weight": 0.5, "floor_share": 0.5}},
    {"policy": "rekv", "policy_options": {"local_share": 0.5, "quantised": True}},
    {"policy": "two_speed_recall", "policy_options": {"quantised": False, "recall_share": 1.0}},
    {"policy": "last_frames", "policy_options": {"cache_features": False}},
]


@pytest.mark.parametrize("settings", OTHER_PATHS, ids=lambda settings: settings["policy"])
def test_settings_that_take_other_paths(base, settings):
    expected = run_stream(open_stream(base, kv_size=KV_SIZE, **settings))
    with stream_on_pretended(base, 2, **settings) as (engine, traffic):
        seen = run_stream(engine, traffic)
    assert seen.answers == expected.answers
    assert_same(seen.held, expected.held)


def test_a_long_question_and_a_large_chunk(base):
    """Buffers grow, and angles are computed layer by layer."""
    frames = {"llava": 60, "qwen": 120}[base.family]

    def run(engine):
        engine.encode_video_chunk(random_frames(frames))
        engine.predict_and_compress()
        return ask(engine, "?" * 1200, max_new_tokens=2), contents(engine)

    expected = run(open_stream(base, kv_size=KV_SIZE, chunk_frames=1))
    with stream_on_pretended(base, 2, chunk_frames=1) as (engine, _):
        seen = run(engine)
    assert seen[0] == expected[0]
    assert_same(seen[1], expected[1])


def test_a_stream_moves_between_devices_in_a_file(base, tmp_path):
    """Saved on two GPUs, continued on the CPU, and back."""
    path = tmp_path / "stream.safetensors"
    whole = open_stream(base, kv_size=KV_SIZE)
    watch(whole, random_frames(24))
    with stream_on_pretended(base, 2) as (engine, _):
        watch(engine, random_frames(24)[:8])
        save_stream(engine, path)
    middle = open_stream(base, kv_size=KV_SIZE)
    load_stream(middle, path)
    watch(middle, random_frames(24)[8:16])
    save_stream(middle, path)
    with stream_on_pretended(base, 2) as (engine, _):
        load_stream(engine, path)
        watch(engine, random_frames(24)[16:])
        assert_same(contents(engine), contents(whole))


def test_a_tempered_answer_and_the_released_view(base):
    """`stream_answer` with a temperature and `kv_cache`, whose rotated keys may be stale."""
    with stream_on_pretended(base, 2, reindex="eager") as (engine, traffic):
        watch(engine, random_frames(24))
        question = {"question": "?", "prompt": engine.get_prompt("?")}
        traffic.clear()
        assert isinstance(engine.question_answering(question, 3, temperature=0.7, seed=1), str)
        drawn = [place for kind, place in traffic.copies if kind == "h2d"]
        assert any("sampler" in place for place in drawn), "the generator is the host's"
        rotated = [keys.cpu() for keys, _ in engine.kv_cache]
    plain = open_stream(base, kv_size=KV_SIZE, reindex="eager")
    watch(plain, random_frames(24))
    for ours, theirs in zip(rotated, plain.kv_cache, strict=True):
        assert torch.equal(ours, theirs[0])


def test_a_head_on_the_first_device(base):
    """Where accelerate puts it if it shares its weights with the embeddings."""
    expected = run_stream(open_stream(base, kv_size=KV_SIZE))
    with stream_on_pretended(base, 2) as (engine, _):
        move(engine.model.lm_head, "cuda:0")
        try:
            seen = run_stream(engine)
        finally:
            move(engine.model.lm_head, "cuda:1")  # the copy serves other tests
    assert seen.answers == expected.answers


def test_rotations_that_come_from_another_device(base):
    """As accelerate's hooks make them: a module computes, and answers, where its weights are."""
    expected = run_stream(open_stream(base, kv_size=KV_SIZE))
    with stream_on_pretended(base, 2) as (engine, _):
        own = engine.decoder.rotary
        engine.decoder.rotary = lambda like, index: [t.to("cuda:1") for t in own(like, index)]
        seen = run_stream(engine)
    assert seen.answers == expected.answers
    assert_same(seen.held, expected.held)


def test_features_that_come_from_another_device(base, monkeypatch):
    """The tower may lie anywhere, too."""
    expected = run_stream(open_stream(base, kv_size=KV_SIZE))
    with stream_on_pretended(base, 2) as (engine, _):
        if engine.family == "llava":
            own = llavaov_hermes.frame_features
            monkeypatch.setattr(
                llavaov_hermes, "frame_features", lambda *given: own(*given).to("cuda:1")
            )
        else:
            tower = engine._vision
            engine._vision = lambda *given: SimpleNamespace(
                pooler_output=tower(*given).pooler_output.to("cuda:1")
            )
        seen = run_stream(engine)
    assert seen.answers == expected.answers
    assert_same(seen.held, expected.held)


def _pruned_by_hand(engine):
    """The released calls on what lies on devices, given what lies on the host."""
    watch(engine, random_frames(24))
    engine.encode_video_chunk(random_frames(8, seed=9))
    memory, generator = engine.memory, torch.Generator().manual_seed(3)
    shape = (1, 2, 5, memory.num_tokens + 5)
    seen = [torch.rand(shape, generator=generator) for _ in range(engine.num_layers)]
    given = [rows.to(memory.place_of(layer)[0].device) for layer, rows in enumerate(seen)]
    kept = engine.prune_kv_cache_by_attention(given, given, given)
    engine.apply_kv_cache_pruning_strict([rows.tolist() for rows in kept])
    engine._position_ids_cache = [rows.cpu() for rows in engine._position_ids_cache]
    engine.kv_cache = [(keys.cpu(), values.cpu()) for keys, values in engine.kv_cache]
    return [rows.cpu() for rows in kept]


def test_released_names(base):
    plain = open_stream(base, kv_size=KV_SIZE)
    expected = _pruned_by_hand(plain)
    with stream_on_pretended(base, 2) as (engine, _):
        kept, held = _pruned_by_hand(engine), contents(engine)
    assert all(map(torch.equal, kept, expected))
    assert_same(held, contents(plain))


def test_what_is_held_is_told_to_the_host(base):
    """As records of a comparison need it."""
    plain = open_stream(base, kv_size=KV_SIZE)
    watch(plain, random_frames(24))
    with stream_on_pretended(base, 2) as (engine, _):
        watch(engine, random_frames(24))
        rows, texts = engine.kept.frames_by_layer(), engine.kept.text_by_layer()
    for ours, theirs in zip(rows, plain.kept.frames_by_layer(), strict=True):
        assert type(ours) is type(theirs) and ours.tolist() == theirs.tolist()
    assert texts.tolist() == plain.kept.text_by_layer().tolist()


def test_frames_that_have_to_be_resized(base):
    """On the device, with weights that were made on the host."""
    frames = random_frames(8, side=90)
    plain = open_stream(base, kv_size=KV_SIZE)
    watch(plain, frames)
    with stream_on_pretended(base, 1) as (engine, _):
        watch(engine, frames)
        assert_same(contents(engine), contents(plain))
