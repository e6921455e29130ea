"""Configuration and registries: everything is checked, and errors name what is known."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from policy_memory import NUM_LAYERS, add_frames, empty_memory, policy_of, random_states
from tiny import open_stream

from hermes import POLICIES, PROFILES, MemoryConfig, configure, make_policy

WRONG = [
    ("kv_size", 0),
    ("kv_size", -1),
    ("kv_size", None),
    ("kv_size", "x"),
    ("kv_size", 6000.0),
    ("kv_size", True),
    ("chunk_frames", 0),
    ("reindex_margin", -1),
    ("position_limit", 0),
    ("seed", 1.5),
    ("budget_weights", (1.0, 1.0)),
    ("budget_weights", (1.0, 0.0, 1.0)),
    ("probe", "guess"),
    ("reindex", "never"),
    ("summary", "median"),
    ("sensory_ratio", 1.2),
    ("long_term_ratio", -0.1),
    ("smoothing", (0.1, 0.2)),
    ("smoothing", (0.1, 0.2, 1.3)),
    ("smoothing", [0.1, 0.2, 0.3]),
    ("working_recency_weight", 0.5),
    ("working_recency_weight", (0.5, float("nan"))),
    ("working_decay", (20.0, -1.0)),
    ("sensory_decay", float("inf")),
    ("long_term_recency_weight", 2),
    ("min_max_epsilon", -1e-6),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_senseless_value_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=name) as error:
        MemoryConfig(**{"kv_size": 10, name: value})
    assert repr(value) in str(error.value)


def test_bands_may_not_overlap():
    with pytest.raises(ValueError, match="must not exceed 1"):
        MemoryConfig(kv_size=1, sensory_ratio=0.6, long_term_ratio=0.5)


def test_the_configuration_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        MemoryConfig(kv_size=1).kv_size = 2


def test_unknown_names_list_the_known_ones():
    with pytest.raises(ValueError, match="unknown profile 'x'; known: released, paper"):
        configure(profile="x", kv_size=1)
    with pytest.raises(ValueError, match=r"unknown memory option \['colour'\]; known: .*kv_size"):
        configure(kv_size=1, colour="red")
    with pytest.raises(ValueError, match=r"unknown memory option \['set_by'\]"):
        configure(kv_size=1, set_by={})
    for make in (configure, lambda **named: make_policy(MemoryConfig(**named), 10)):
        with pytest.raises(ValueError, match="unknown policy 'x'") as error:
            make(kv_size=1, policy="x")
        assert all(name in str(error.value) for name in POLICIES)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_field_can_be_set_alone(profile):
    usual = configure(profile=profile, kv_size=5)
    other = configure(profile=profile, kv_size=5, sensory_decay=3.0)
    assert dataclasses.replace(usual, sensory_decay=3.0) == other
    assert usual.profile == profile


@pytest.mark.parametrize(("limit", "margin"), [(32768, 1024), (1025, 1024), (1024, 128), (80, 10)])
def test_margin_of_small_models(limit, margin):
    assert MemoryConfig(kv_size=1).margin_for(limit) == margin


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_policies_are_made_by_name(name):
    policy, memory = policy_of(name, kv_size=8), empty_memory()
    assert type(policy) is POLICIES[name]
    add_frames(memory, *random_states(frames=2, length=4))
    assert policy.overflows(memory.stacks) == any(map(policy.folds, range(NUM_LAYERS)))
    assert policy.overflows(memory.stacks, 1) == POLICIES[name].evicts


def test_description_can_be_written_as_json(base):
    import json

    engine = open_stream(base, kv_size=24)
    described = json.loads(json.dumps(engine.describe()))
    assert {"kv_size", "profile", "prompts_hash", "dtype", "attn"} <= described.keys()
    assert (described["memory_bytes"] is None) == (engine.tokens_per_step() is None)
    engine.encode_video_chunk(torch.zeros(2, 56, 56, 3, dtype=torch.uint8))
    assert engine.describe()["memory_bytes"] >= engine.memory.num_bytes > 0
    per_frame = {"llava": 4, "qwen": 2}[base.family]
    assert engine.describe()["tokens_per_frame"] == per_frame
    assert engine.describe()["horizon_seconds"] == 24 / per_frame
