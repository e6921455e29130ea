"""Family < data set < policy < what the user named; a contradiction with the policy is an error."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from typing import Any

import pytest
import torch
from tiny import open_stream, random_frames, watch

from hermes import POLICIES, PROFILES, MemoryConfig, configure, make_policy
from hermes.policy_parts.guidance import QUESTIONS
from hermes.precedence import LAYERS, layers_of, resolve
from inference import llavaov_hermes, load_model
from inference.checkpoints.registry import FAMILIES, family_of

QUESTION = sorted({*QUESTIONS} - {"default"})[0]
VALUES: dict[str, tuple[Any, Any]] = {
    "sensory_ratio": (0.2, 0.25),
    "long_term_ratio": (0.4, 0.5),
    "sensory_recency_weight": (0.5, 0.25),
    "sensory_decay": (3.0, 4.0),
    "working_recency_weight": ((1.0, 0.1), (0.5, 0.5)),
    "working_decay": ((20.0, 0.5), (9.0, 3.0)),
    "long_term_recency_weight": (0.25, 0.5),
    "long_term_decay": (1.0, 2.0),
    "smoothing": ((0.0, 0.0, 0.0), (0.5, 0.5, 0.5)),
    "budget_weights": ((2.0, 2.0, 2.0), (3.0, 3.0, 3.0)),
    "min_max_epsilon": (1e-3, 1e-2),
    "summary": ("weighted", "none"),
    "probe": ("embedding", "exact"),
    "reindex": ("lazy", "eager"),
    "reindex_margin": (7, 8),
    "position_limit": (64, 65),
    "use_history": (True, False),
    "guidance_prompts": ("default", QUESTION),
    "frame_text": ("scored", "dropped"),
    "outer_markers": (True, False),
    "kv_dtype": ("model", "int8"),
    "chunk_frames": (3, 4),
    "seed": (5, 6),
}
"""Field -> two values; of the two-valued ones the first is the default."""
FIELDS = [known.name for known in dataclasses.fields(MemoryConfig) if known.init]
CASES = [(name, *pair) for name, (a, b) in VALUES.items() for pair in ((a, b), (b, a))]
"""Field, one value, another one."""


def test_the_table_knows_every_field():
    assert [*VALUES] == [name for name in FIELDS if name in VALUES]
    assert set(FIELDS) - set(VALUES) == {
        *("kv_size", "policy", "policy_options", "profile"),
    }


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_presets_yield_to_the_policy_and_the_user_to_nobody(policy):
    """Each field as the family's, the data set's, and the user's word, under each policy."""
    defined = POLICIES[policy].defines
    for name, low, high in CASES:
        family, data_set = {"released": {name: low}}, {name: high}
        chosen = {"kv_size": 8, "policy": policy}

        alone = configure(family=family, **chosen)
        assert getattr(alone, name) == defined.get(name, low)
        assert alone.set_by[name] == ("policy" if name in defined else "family")
        both = configure(family=family, data_set=data_set, **chosen)
        assert getattr(both, name) == defined.get(name, high)
        assert both.set_by[name] == ("policy" if name in defined else "data set")

        if defined.get(name, low) == low:
            named = configure(family=family, data_set=data_set, **chosen, **{name: low})
            assert getattr(named, name) == low
            assert named.set_by[name] == "user"
            assert make_policy(named, 4).config == named
            continue
        with pytest.raises(ValueError) as caught:
            configure(**chosen, **{name: low})
        _says_what_to_do(str(caught.value), policy, name, low, defined[name])


def _says_what_to_do(message: str, policy: str, name: str, named: object, defined: object) -> None:
    parts = (f"{name}={named!r}", f"{name}={defined!r}", repr(policy), f"leave {name} out")
    assert all(part in message for part in parts), message


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_a_configuration_by_hand_names_what_it_is_given(policy):
    """Also where the value is the default, which the finished object does not show."""
    defined = POLICIES[policy].defines
    for name, value, _ in CASES:
        by_hand = MemoryConfig(8, policy=policy, **{name: value})
        if defined.get(name, value) == value:
            config = make_policy(by_hand, 4).config
            assert {**config.set_by, name: "user"} == config.set_by
            assert getattr(config, name) == value
        else:
            with pytest.raises(ValueError, match="contradicts the policy") as caught:
                make_policy(by_hand, 4)
            _says_what_to_do(str(caught.value), policy, name, value, defined[name])


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_by_hand_and_unnamed_the_policy_decides(policy):
    config = make_policy(MemoryConfig(8, policy=policy), 4).config
    assert config == configure(kv_size=8, policy=policy)
    expected = {"kv_size": "user", "policy": "user"} | dict.fromkeys(
        POLICIES[policy].defines, "policy"
    )
    assert config.set_by == expected


@pytest.mark.parametrize("engine", [family_of(name).engine for name in FAMILIES])
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_a_profile_is_a_preset_under_every_policy(engine, profile, policy):
    config = configure(family=engine.constants, kv_size=8, profile=profile, policy=policy)
    presets = {**PROFILES[profile], **engine.constants.get(profile, {})}
    for name in VALUES:
        default = MemoryConfig.__dataclass_fields__[name].default
        expected = POLICIES[policy].defines.get(name, presets.get(name, default))
        assert getattr(config, name) == expected


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_layers_give_the_same_configuration_again(policy):
    config = configure(
        family={"released": {"working_decay": (1.0, 2.0)}},
        data_set={"reindex": "eager"},
        kv_size=8,
        policy=policy,
        sensory_decay=3.0,
    )
    for again in (resolve(layers_of(config)), copy.deepcopy(config)):
        assert (again, again.set_by) == (config, config.set_by)
    restored = pickle.loads(pickle.dumps(config))
    assert (restored, restored.set_by) == (config, config.set_by)
    assert set(config.set_by.values()) <= set(LAYERS)


def test_a_changed_copy_spells_out_every_field():
    usual = configure(kv_size=8, data_set={"reindex": "lazy"})
    with pytest.raises(ValueError, match="contradicts the policy 'two_speed'"):
        make_policy(dataclasses.replace(usual, policy="two_speed"), 4)
    assert make_policy(dataclasses.replace(usual, kv_size=9), 4).config.kv_size == 9


def test_another_stream_takes_nothing_of_the_policy_along(base):
    first = open_stream(
        base, policy="two_speed", data_set={"reindex": "eager"}, sensory_decay=3.0, kv_size=16
    )
    other = first.new_stream(policy="hermes", kv_size=12)
    assert other.config == configure(
        family=base.constants,
        data_set={"reindex": "eager"},
        kv_size=12,
        policy="hermes",
        sensory_decay=3.0,
    )
    assert (first.config.probe, other.config.probe) == ("exact", "embedding")
    paper = other.new_stream(profile="paper")
    assert (paper.config.probe, paper.config.working_decay) == ("exact", (20.0, 8.0))
    assert paper.new_stream(profile="released").config == other.config
    assert first.new_stream().config == first.new_stream(first.config).config == first.config
    with pytest.raises(ValueError, match="contradicts the policy 'two_speed'"):
        first.new_stream(probe="embedding")
    with pytest.raises(ValueError, match="contradicts the policy 'streaming_llm'"):
        first.new_stream(configure(kv_size=8, reindex="lazy"), policy="streaming_llm")


def test_a_record_says_who_decided(base):
    described = json.loads(json.dumps(open_stream(base, policy="two_speed", seed=1).describe()))
    assert (described["probe"], described["set_by"]["probe"]) == ("exact", "policy")
    assert described["set_by"]["seed"] == "user"
    assert "reindex_margin" not in described["set_by"]


@pytest.mark.parametrize(
    ("policy", "given", "expected"),
    [
        ("hermes", {}, "lazy"),
        ("hermes", {"streaming": True}, "lazy"),
        ("hermes", {"streaming": False}, "eager"),
        ("hermes", {"data_set": {"reindex": "eager"}}, "eager"),
        ("hermes", {"data_set": {"reindex": "eager"}, "streaming": True}, "lazy"),
        ("hermes", {"streaming": False, "reindex": "eager"}, "eager"),
        ("hermes", {"streaming": False, "reindex": "lazy"}, "streaming=False is reindex='eager'"),
        ("streaming_llm", {}, "eager"),
        ("streaming_llm", {"data_set": {"reindex": "lazy"}}, "eager"),
        ("streaming_llm", {"streaming": False}, "eager"),
        ("streaming_llm", {"streaming": True}, "reindex='lazy' (streaming=True) contradicts"),
        ("streaming_llm", {"reindex": "lazy"}, "leave reindex out"),
    ],
)
def test_the_streaming_flag_of_the_loader(checkpoint, policy, given, expected):
    settings = {"kv_size": 24, "device": "cpu", "policy": policy, **given}
    if expected in ("lazy", "eager"):
        engine, _ = load_model(checkpoint("llava"), **settings)
        assert engine.config.reindex == expected
        return
    with pytest.raises(ValueError) as caught:
        load_model(checkpoint("llava"), **settings)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [{}, {"streaming": True}, {"streaming": False}, {"data_set": {"reindex": "eager"}}],
    ids=str,
)
@pytest.mark.parametrize("policy", ["hermes", "streaming_llm"])
def test_the_released_flag_yields_to_every_policy(checkpoint, policy, given):
    """There it is set for each data set, by code that knows no policies."""
    engine, _ = llavaov_hermes.load_model(
        checkpoint("llava"), kv_size=24, device="cpu", policy=policy, **given
    )
    lazy = policy == "hermes" and given in ({}, {"streaming": True})
    assert engine.config.reindex == ("lazy" if lazy else "eager")
    watch(engine, random_frames(8))
    assert torch.isfinite(engine.memory.positions.float()).all()
