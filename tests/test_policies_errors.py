"""Unknown names, options out of range, frames a policy cannot serve."""

from __future__ import annotations

import pytest
from policy_memory import add_frames, chosen, empty_memory, policy_of, random_states
from tiny import open_stream

from hermes.policies import POLICIES
from inference import load_model

OUT_OF_RANGE = [
    ("infinipot_v", "tar_ratio", 1.5, r"tar_ratio must be a number in \[0, 1\], got 1.5"),
    ("infinipot_v", "target_ratio", 0, "target_ratio"),
    ("live_vlm", "num_buckets", 0, "num_buckets must be an integer of at least 1, got 0"),
    ("stratified", "floor_share", -0.1, "floor_share"),
    ("stratified", "num_slices", 2.5, "num_slices must be an integer"),
    ("streaming_llm", "num_sinks", -1, "num_sinks"),
    ("rekv", "local_share", "half", "local_share must be a number"),
    ("rekv", "quantised", 1, "quantised must be true or false, got 1"),
    ("rekv", "host_bytes_limit", 0, "host_bytes_limit"),
    ("two_speed", "recent_share", True, "recent_share"),
    ("two_speed", "guidance", "vague", "unknown guidance 'vague'; known: local, mixed"),
    ("two_speed", "keyframe_share", 2, "keyframe_share must be a number"),
    ("two_speed", "attention_weight", -1, "attention_weight"),
    ("two_speed", "keyframe_frames", 0, "keyframe_frames"),
    ("two_speed_recall", "on_full", "newest", "known: oldest, thin"),
    ("two_speed_recall", "host_bytes_limit", None, "host_bytes_limit"),
    ("last_frames", "num_frames", 0, "num_frames"),
    ("uniform_recent", "recent_share", 2, "recent_share"),
    ("keyrec", "event_share", -1, "event_share must be a number"),
    ("keyrec", "novelty", "some", "novelty must be a number"),
    ("dscache", "instant_share", 1.5, "instant_share must be a number"),
    ("dscache", "cache_features", 1, "cache_features must be true or false"),
    ("shallow_stream", "depth", 0, "depth must be an integer of at least 1"),
    ("shallow_stream", "num_preceding", -1, "num_preceding must be an integer of at least 0"),
    ("shallow_stream", "max_units", 0, "max_units"),
    ("shallow_stream", "cache_features", False, "cache_features must be true"),
]


@pytest.mark.parametrize(("policy", "option", "value", "message"), OUT_OF_RANGE)
def test_options_out_of_range(policy, option, value, message):
    with pytest.raises(ValueError, match=message) as caught:
        policy_of(policy, 24, **{option: value})
    assert repr(policy) in str(caught.value)


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_unknown_options_list_the_known_ones(policy):
    with pytest.raises(ValueError, match=f"unknown option colour of policy '{policy}'") as caught:
        policy_of(policy, 24, colour="red")
    fields = getattr(POLICIES[policy].Options, "__dataclass_fields__", {})
    assert all(name in str(caught.value) for name in fields)
    assert fields or str(caught.value).endswith("known: none")


def test_unknown_policy_lists_all():
    with pytest.raises(ValueError, match="unknown policy 'best'") as caught:
        policy_of("best", 24)
    assert all(name in str(caught.value) for name in POLICIES)


def test_options_reach_the_engine_and_the_record(base):
    engine = open_stream(base, policy="two_speed", policy_options={"recent_share": 0.25})
    recorded = engine.describe()
    assert recorded["policy_options"]["recent_share"] == 0.25
    assert recorded["probe"] == "exact", "what the policy settles is recorded, not what was asked"
    assert engine.new_stream().policy.options == engine.policy.options


def test_options_through_the_loader(checkpoint):
    engine, _ = load_model(
        checkpoint("llava"),
        kv_size=24,
        device="cpu",
        policy="last_frames",
        policy_options={"num_frames": 2},
    )
    assert engine.policy.options.num_frames == 2


def test_a_store_below_one_frame_is_refused_before_anything_is_lost():
    memory = empty_memory()
    add_frames(memory, *random_states(6, 4))
    policy = policy_of("rekv", 12, host_bytes_limit=10)
    kept = chosen(policy, memory)
    with pytest.raises(ValueError, match="the limit is 10: raise host_bytes_limit"):
        policy.evicting(memory, [None], [kept])
    assert memory.num_visual == 24


def test_a_policy_that_keeps_what_nothing_keeps(load, monkeypatch):
    monkeypatch.setattr(POLICIES["recent"], "keeps", "everything", raising=False)
    with pytest.raises(ValueError, match="'recent' keeps 'everything'; known: tokens, tokens and"):
        open_stream(load("llava"), policy="recent")
