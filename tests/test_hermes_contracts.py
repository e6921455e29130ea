"""Contracts of the memory (design section 4) after every step of random runs, for every policy.

A new policy is one line in POLICIES, and with it one parameter here.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from policy_memory import NUM_LAYERS, policy_of
from tiny import ask, assert_same, contents, open_stream, random_frames, watch

from hermes import ContextLimitError
from hermes.policies import POLICIES
from inference.answers.prompts import Turn, guidance_texts

KV_SIZE = 24
LIMITS = {"llava": 130, "qwen": 90}
"""So small that lazy streams renumber often; the prefix takes 44 positions. Guidance texts come on
top, which also have to stand below the limit."""
EVICTING = sorted(name for name, policy in POLICIES.items() if policy.evicts)
STREAMING = [name for name in EVICTING if not POLICIES[name].reprefills]
"""Policies whose memory fills while watching; the others keep frames and read them when asked."""


@pytest.fixture(params=sorted(POLICIES))
def policy(request) -> str:
    return request.param


def _guidance_positions(policy: str) -> int:
    """Of the longest guidance text after a question of one character; the template fits anyway."""
    texts = guidance_texts(Turn("?", "four"))
    asked = {policy_of(policy, KV_SIZE).guidance(layer) for layer in range(NUM_LAYERS)}
    return max((len(texts[name]) for name in asked - {None, "template"}), default=0)


def _options(policy: str, family: str, reindex: str) -> dict:
    positions = LIMITS[family] + _guidance_positions(policy)
    limit = {} if policy == "none" else {"position_limit": positions, "reindex_margin": 20}
    return {"policy": policy, "data_set": {"reindex": reindex}, "kv_size": KV_SIZE, **limit}


def _check(engine, prefix: dict[str, torch.Tensor], compressed: bool) -> None:
    """Every contract, on the tensors themselves."""
    memory, count = engine.memory, engine.memory.num_prefix
    memory.check_integrity(engine.max_positions)
    held = contents(engine)
    assert held["keys"].shape[2] == memory.num_tokens
    if compressed and engine.policy.evicts:
        assert memory.num_tokens <= count + KV_SIZE
    for name, tensor in prefix.items():
        now = held[name]
        if name in ("keys", "values", "rotated"):
            now = now[:, :, :count]
        elif name != "next_position":
            now = now[..., :count]
        else:
            continue
        assert torch.equal(now, tensor), f"{name} of the prefix changed"
    assert (held["positions"] < engine.max_positions).all()
    assert (held["positions"].amax(dim=(1, 2)) < held["next_position"]).all()
    frames = held["frame"][:, count:]
    seconds = held["seconds"][:, count:]
    for layer in range(memory.num_layers):
        watched = frames[layer] >= 0
        assert (frames[layer][watched].diff() >= 0).all(), "time order"
        assert (seconds[layer][watched].diff() >= 0).all(), "time order"
        if memory.positions.shape[1] == 1:
            assert (held["positions"][layer, 0].diff() > 0).all(), "position order"


def test_contracts_hold_after_every_step(base_any, policy):
    _random_run(base_any, policy, "lazy")


def test_contracts_hold_with_eager_renumbering(base_any):
    _random_run(base_any, "hermes", "eager")


def _random_run(base_any, policy: str, reindex: str) -> None:
    generator = np.random.default_rng(3)
    engine = open_stream(base_any, **_options(policy, base_any.family, reindex))
    engine.encode_init_prompt()
    prefix = contents(engine)
    renumbered = 0
    for step in range(14):
        size = int(generator.integers(1, 9))
        engine.encode_video_chunk(random_frames(size, seed=step))
        _check(engine, prefix, compressed=False)
        engine.predict_and_compress()
        _check(engine, prefix, compressed=True)
        renumbered += engine.last_compression.renumbered
        if step % 4 == 3:
            before = contents(engine)
            ask(engine)
            assert_same(before, contents(engine))
    assert renumbered >= 2 or policy not in STREAMING


def test_memory_does_not_grow_with_the_stream(base_any, policy):
    if policy == "none":
        pytest.skip("the policy 'none' keeps everything; see test_keep_all_ends_at_the_limit")
    engine = open_stream(base_any, **_options(policy, base_any.family, "lazy"), chunk_frames=2)
    frames = random_frames(2)
    sizes = set()
    num_chunks = 60 if (policy, base_any.family) == ("hermes", "llava") else 12
    for _ in range(num_chunks):
        engine.encode_video_chunk(frames)
        engine.predict_and_compress()
        sizes.add((engine.memory.num_bytes, engine.memory.capacity))
    assert len(sizes) == 1
    assert engine.total_processed_frames == 2 * num_chunks
    engine.memory.check_integrity(engine.max_positions)


@pytest.mark.parametrize("reindex", ["lazy", "eager"])
@pytest.mark.parametrize("probe", ["embedding", "exact"])
def test_guidance_text_stays_below_the_limit(base, reindex, probe):
    """Positions that are rotated, over a long stream whose text needs most of the range."""
    limit = 90 + _guidance_positions("hermes")  # prefix 44, budget 24, a chunk 8, some gaps
    options = {"reindex": reindex, "reindex_margin": 0, "probe": probe, "position_limit": limit}
    engine = open_stream(base, kv_size=KV_SIZE, **options)
    highest, rotary = [], engine.decoder.rotary

    def spy(like, positions):
        highest.append(positions.max().item())
        return rotary(like, positions)

    engine.decoder.rotary = spy
    frames = random_frames(2 if base.family == "llava" else 4)  # eight tokens
    for step in range(14):
        engine.encode_video_chunk(frames)
        engine.predict_and_compress()
        if step % 4 == 3:
            ask(engine)
    assert max(highest) < engine.max_positions
    assert max(highest) > engine.max_positions - 40, "the limit was near"


def test_guidance_text_without_room_is_refused(base):
    """The remedy is named and the stream stays as it was."""
    engine = open_stream(base, kv_size=24, position_limit=250)
    engine.encode_video_chunk(random_frames(16))
    before = contents(engine)
    with pytest.raises(ContextLimitError, match=r"end at 250: .* 230 more .*; lower kv_size"):
        engine.predict_and_compress()
    after = contents(engine)
    assert torch.equal(before["keys"], after["keys"])
    engine.memory.check_integrity(250)


def test_keep_all_ends_at_the_limit(base_any):
    """Positions are checked before a chunk is read; what was there stays usable."""
    engine = open_stream(base_any, policy="none", position_limit=200)
    with pytest.raises(ContextLimitError, match=r"end at 200.*; this policy evicts nothing"):
        watch(engine, random_frames(400))
    engine.memory.check_integrity(200)
    assert engine.memory.num_visual > 0
    before = contents(engine)
    with pytest.raises(ContextLimitError, match="shorten the question"):
        ask(engine, "?" * 300)
    assert_same(before, contents(engine))


def test_the_same_seed_gives_the_same_stream_also_after_clearing(base_any, policy):
    frames = random_frames(24)
    one, other = (open_stream(base_any, policy=policy, seed=5) for _ in range(2))
    for engine in (one, other):
        watch(engine, frames)
    first = contents(one)
    assert_same(first, contents(other))
    assert ask(one) == ask(other)
    one.clear_cache()
    assert one.memory.num_tokens == 0
    assert one.conv_history == []
    watch(one, frames)
    assert_same(first, contents(one))


def test_another_seed_draws_other_tokens(base_any):
    kept = []
    for seed in (1, 2):
        engine = open_stream(base_any, policy="random", seed=seed)
        watch(engine, random_frames(16))
        kept.append(contents(engine)["frame"])
    assert not torch.equal(*kept)


def test_streams_on_the_same_weights_do_not_influence_each_other(base_any, policy):
    alone = open_stream(base_any, policy=policy)
    frames, others = random_frames(24, seed=1), random_frames(24, seed=2)
    watch(alone, frames)
    one = open_stream(base_any, policy=policy)
    other = one.new_stream()
    for start in range(0, 24, 8):
        one.encode_video_chunk(frames[start : start + 8])
        other.encode_video_chunk(others[start : start + 4])
        other.predict_and_compress()
        one.predict_and_compress()
        ask(other)
    assert_same(contents(alone), contents(one))
    assert alone.memory is not one.memory


@pytest.mark.parametrize(
    ("name", "summary"),
    [*((name, "mean") for name in STREAMING), ("hermes", "weighted"), ("hermes", "none")],
)
def test_a_chunk_larger_than_the_budget(base_any, name, summary, caplog):
    engine = open_stream(base_any, kv_size=8, policy=name, summary=summary)
    watch(engine, random_frames(64), chunk_frames=32)
    engine.memory.check_integrity(engine.max_positions)
    assert engine.memory.num_visual <= 8
    warnings = [record for record in caplog.records if "more than kv_size 8" in record.message]
    assert len(warnings) == 1, "one warning per stream, with the arithmetic"
