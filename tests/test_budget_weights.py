"""Bands of layers with budgets of their own: the paper's ablation of budgets per band."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from policy_memory import add_frames, empty_memory, policy_of, random_states
from pretended_stream import stream_on_pretended
from tiny import ask, assert_same, contents, open_stream, random_frames, watch

from hermes import POLICIES, MemoryConfig, SnapshotError, make_policy
from hermes.layout import MemoryLayout
from hermes.scores.smoothing import aligned
from inference.errors import FrameError
from inference.saved.stream_file import load_stream, save_stream

WEIGHTS = (0.5, 1.0, 2.0)
ABLE = [name for name, kind in POLICIES.items() if kind.takes_budget_weights]
NUM_FRAMES = 48


@given(
    st.tuples(*[st.floats(0.1, 4)] * 3),
    st.integers(1, 10_000),
    st.integers(1, 80),
)
def test_budgets_share_out_what_all_layers_have(weights, kv_size, num_layers):
    config = MemoryConfig(kv_size=kv_size, budget_weights=weights)
    layout = MemoryLayout.from_config(num_layers, config)
    try:
        budgets = layout.budgets(config)
    except ValueError as error:
        assert "without a token" in str(error)
        assert kv_size * min(weights) < max(weights) + 1e-6
        return
    assert kv_size * num_layers - num_layers <= sum(budgets) <= kv_size * num_layers
    for one in range(num_layers):
        for other in range(num_layers):
            ours, theirs = (weights[layout.band(layer).value] for layer in (one, other))
            assert abs(budgets[one] * theirs - budgets[other] * ours) <= ours + theirs


@pytest.mark.parametrize("weight", [1.0, 0.1, 3.0, 1 / 3])
@given(st.integers(1, 10_000), st.integers(1, 90))
def test_equal_weights_give_each_layer_the_whole_budget(weight, kv_size, num_layers):
    config = MemoryConfig(kv_size=kv_size, budget_weights=(weight,) * 3)
    layout = MemoryLayout.from_config(num_layers, config)
    assert layout.budgets(config) == (kv_size,) * num_layers


@pytest.mark.parametrize("name", ABLE)
def test_every_layer_is_held_at_its_budget(base, name):
    engine = open_stream(base, kv_size=24, policy=name, budget_weights=WEIGHTS)
    watch(engine, random_frames(NUM_FRAMES, seed=1))
    held = [stack.num_visual for stack in engine.memory.stacks for _ in stack.layers]
    assert held == list(engine.policy.budgets)
    assert len(set(held)) == 3
    engine.memory.check_integrity(engine.max_positions)
    before = contents(engine)
    assert ask(engine)
    assert_same(contents(engine), before)


def test_equal_weights_of_any_size_change_nothing(base):
    engines = [open_stream(base, kv_size=24, budget_weights=(x, x, x)) for x in (1.0, 3.0)]
    for engine in engines:
        watch(engine, random_frames(NUM_FRAMES, seed=2))
    assert_same(contents(engines[1]), contents(engines[0]))


@pytest.mark.parametrize("name", ABLE)
def test_the_same_on_one_device_and_on_two(base, name):
    settings = {"kv_size": 24, "policy": name, "budget_weights": WEIGHTS}
    plain = open_stream(base, **settings)
    watch(plain, random_frames(NUM_FRAMES, seed=3))
    with stream_on_pretended(base, 2, **settings) as (engine, _):
        watch(engine, random_frames(NUM_FRAMES, seed=3))
        held = contents(engine)
    assert_same(held, contents(plain))


def test_saved_and_continued(base, tmp_path):
    settings = {"kv_size": 24, "budget_weights": WEIGHTS}
    whole, later = (open_stream(base, **settings) for _ in range(2))
    watch(whole, random_frames(NUM_FRAMES, seed=4))
    save_stream(whole, tmp_path / "stream")
    load_stream(later, tmp_path / "stream")
    for engine in (whole, later):
        watch(engine, random_frames(NUM_FRAMES, seed=5))
    assert_same(contents(later), contents(whole))
    equal = open_stream(base, kv_size=24)
    with pytest.raises(SnapshotError, match="budget_weights is"):
        load_stream(equal, tmp_path / "stream")


def test_a_layer_that_has_room_loses_nothing():
    """Only the sensory band overflows: the others neither evict nor fold."""
    policy, memory = policy_of("hermes", kv_size=8), empty_memory()
    add_frames(memory, *random_states(frames=2, length=4))
    assert policy.folding(memory.stacks[0]) == slice(2, 4)
    policy.budgets = (9, 9, 9, 9)
    assert policy.folding(memory.stacks[0]) is None


def test_scores_of_layers_meet_at_the_newest_token():
    own, deeper = torch.arange(5.0), torch.tensor([10.0, 11, 12])
    assert aligned(deeper, own).tolist() == [0, 1, 10, 11, 12]
    assert aligned(torch.arange(7.0), own).tolist() == [2, 3, 4, 5, 6]
    assert aligned(own * 2, own).tolist() == [0, 2, 4, 6, 8]


@pytest.mark.parametrize("name", sorted(set(POLICIES) - set(ABLE)))
def test_other_policies_refuse(name):
    with pytest.raises(ValueError, match="budget_weights go with hermes"):
        make_policy(MemoryConfig(kv_size=8, policy=name, budget_weights=WEIGHTS), 10)


def test_a_chunk_far_beyond_every_buffer(base):
    """All layers grow to one capacity; their budgets stay their own."""
    engine = open_stream(base, kv_size=24, budget_weights=(1, 1, 3))
    engine.encode_video_chunk(random_frames({"llava": 450, "qwen": 1800}[base.family]))
    engine.predict_and_compress()
    held = [stack.num_visual for stack in engine.memory.stacks for _ in stack.layers]
    assert held == list(engine.policy.budgets)


def test_a_band_below_one_frame_is_named(base):
    engine = open_stream(base, kv_size=8, budget_weights=(1, 1, 5))
    with pytest.raises(FrameError, match="budget_weights leave 3 of the 8 of kv_size"):
        engine.encode_video_chunk(random_frames(4))
