"""Every ablation is a setting that reaches the method and changes exactly what it names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from policy_memory import add_frames, empty_memory, random_states
from tiny import (
    TOLERANCE,
    ask,
    contents,
    largest_error,
    open_stream,
    random_frames,
    watch,
)

from hermes import Band, MemoryConfig, configure, make_policy
from hermes.policies.hermes import Hermes
from hermes.policy_parts import guidance
from hermes.policy_text import memory_fields, read_policy, split_options
from inference import AbstractHermes, Stream
from inference.answers.prompts import guidance_hash, prompts_hash
from video_qa.comparison.arguments import parser

NUM_LAYERS = 10
CHANGES = {
    "sensory_ratio=0.3": {"bands", "working scores"},
    "long_term_ratio=0.5": {"bands", "working scores", "folding"},
    "sensory_decay=5": {"sensory scores"},
    "sensory_recency_weight=0.5": {"sensory scores", "sensory texts"},
    "working_recency_weight=[0.5,0.5]": {"working scores"},
    "working_decay=[5,5]": {"working scores"},
    "long_term_recency_weight=0.5:long_term_decay=20": {"long_term scores"},
    "smoothing=[0.5,0.3,0.4]": {"sensory smoothing"},
    "smoothing=[0.1,0.5,0.4]": {"working smoothing"},
    "smoothing=[0.1,0.3,0]": {"long_term smoothing"},
    "summary=none": {"folding", "long_term budget"},
    "budget_weights=[2,1,1]": {"sensory budget", "working budget", "long_term budget"},
    "guidance_prompts=describe": {"working texts", "long_term texts"},
}
"""Setting -> the facets of a policy in which it differs from the default; of all others not one."""


def _policy(setting: str) -> Hermes:
    _, options = split_options(read_policy(f"hermes:{setting}" if setting else "hermes")[1])
    policy = make_policy(MemoryConfig(kv_size=8, **options), NUM_LAYERS)
    assert isinstance(policy, Hermes)
    return policy


def _facets(policy: Hermes, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a policy does with one memory and one attention, band by band of the default layout."""
    monkeypatch.setattr("policy_memory.NUM_LAYERS", NUM_LAYERS)
    memory = empty_memory()
    add_frames(memory, *random_states(6, 3))
    generator = torch.Generator().manual_seed(0)
    attention = torch.rand(NUM_LAYERS, memory.num_visual, generator=generator).softmax(-1)
    with monkeypatch.context() as unsmoothed:
        identity = torch.eye(NUM_LAYERS)
        unsmoothed.setattr("hermes.policies.hermes.smoothing_matrix", lambda weights: identity)
        (scores,) = policy.scores(memory, [attention])
    texts = guidance.texts_of(guidance.QUESTIONS[policy.config.guidance_prompts])
    facets: dict[str, Any] = {
        "bands": [policy.layout.band(layer) for layer in range(NUM_LAYERS)],
        "folding": [policy.folds(layer) for layer in range(NUM_LAYERS)],
    }
    usual = make_policy(MemoryConfig(kv_size=8), NUM_LAYERS).layout
    for band in Band:
        own = [layer for layer in range(NUM_LAYERS) if usual.band(layer) is band]
        name = band.name.lower()
        facets[f"{name} budget"] = [policy.capacity(layer) for layer in own]
        facets[f"{name} scores"] = scores[own].tolist()
        facets[f"{name} texts"] = [texts.get(policy.guidance(layer) or "") for layer in own]
        facets[f"{name} smoothing"] = [
            policy.layout.smoothing(layer, policy.config) for layer in own
        ]
    return facets


@pytest.mark.parametrize("setting", CHANGES)
def test_a_setting_changes_what_it_names_and_nothing_else(setting, monkeypatch):
    usual, other = (_facets(_policy(text), monkeypatch) for text in ("", setting))
    changed = {name for name in usual if usual[name] != other[name]}
    allowed = CHANGES[setting]
    if "bands" in allowed:  # a layer that changes its band changes with it in every respect
        of_a_band = ("smoothing", "texts", "budget")
        allowed = allowed | {name for name in changed if name.split()[-1] in of_a_band}
    assert changed == allowed


def test_smoothing_is_applied_to_the_scores():
    """Without it every layer has its own score; with it a layer has a share of the deeper one."""
    memory = empty_memory()
    add_frames(memory, *random_states(6, 3))
    attention = torch.rand(4, memory.num_visual, generator=torch.Generator().manual_seed(0))

    def scores(smoothing: tuple[float, ...]) -> torch.Tensor:
        config = MemoryConfig(kv_size=8, smoothing=smoothing, sensory_ratio=0.25)
        policy = make_policy(config, 4)
        assert isinstance(policy, Hermes)
        return policy.scores(memory, [attention])[0]

    raw, smooth = scores((0.0, 0.0, 0.0)), scores((0.5, 0.0, 0.0))
    assert torch.equal(raw[1:], smooth[1:])
    torch.testing.assert_close(smooth[0], (raw[0] + raw[1]) / 2)


def test_every_field_is_an_option_of_a_policys_text():
    fields = {
        name for setting in CHANGES for name, *_ in (p.split("=") for p in setting.split(":"))
    }
    fields |= {"reindex", "use_history", "probe", "reindex_margin", "seed"}
    assert fields <= set(memory_fields())


def test_lists_in_a_policys_text_survive_the_commas_between_policies():
    text = "hermes:smoothing=[0,0,0],recent,hermes:working_decay=[5,5]:summary=none"
    given = ["--model=nano", "--dataset=nanostream", "--kv_sizes=64", f"--policies={text}"]
    assert parser("", "").parse_args(given).policies == [
        "hermes:smoothing=[0,0,0]",
        "recent",
        "hermes:working_decay=[5,5]:summary=none",
    ]


def _watched(base: AbstractHermes, **named: Any) -> AbstractHermes:
    engine = open_stream(base, **named)
    watch(engine, random_frames(8))
    return engine


def test_reindex_moves_positions_and_keeps_the_same_tokens(base):
    lazy, eager = (contents(_watched(base, reindex=mode)) for mode in ("lazy", "eager"))
    assert not torch.equal(lazy["positions"], eager["positions"])
    assert torch.equal(lazy["frame"], eager["frame"]) and torch.equal(lazy["keys"], eager["keys"])


def test_history_counts_only_where_there_is_a_dialogue(base):
    silent = [contents(_watched(base, use_history=on)) for on in (True, False)]
    assert all(torch.equal(silent[0][name], silent[1][name]) for name in silent[0])
    asked = []
    for on in (True, False):
        engine = open_stream(base, use_history=on)
        texts = _encoded(engine)
        watch(engine, random_frames(4))
        ask(engine)
        del texts[:]
        watch(engine, random_frames(8, seed=1))
        asked.append(any(text.startswith("Context summary: ") for text in texts))
    assert asked == [True, False]


def _encoded(engine: AbstractHermes) -> list[str]:
    """Every text that the engine turns into tokens from now on."""
    seen: list[str] = []
    encode: Callable[[str], torch.Tensor] = engine.processor.encode

    class Recording:
        pixels = engine.processor.pixels

        def encode(self, text: str) -> torch.Tensor:
            seen.append(text)
            return encode(text)

        def __getattr__(self, name: str) -> Any:
            return getattr(original, name)

    original = engine.processor
    engine.processor = Recording()
    return seen


@pytest.mark.parametrize("prompts", guidance.QUESTIONS)
def test_guidance_prompts_are_what_the_model_reads(base, prompts):
    engine = open_stream(base, guidance_prompts=prompts)
    texts = _encoded(engine)
    watch(engine, random_frames(12))
    asked = guidance.QUESTIONS[prompts]
    both = f"{asked.local}; {asked.overall}"
    assert {text for text in texts if text != engine.init_prompt} == {both, asked.overall}
    described = engine.describe()
    assert described["guidance_hash"] == guidance_hash(prompts)
    assert described["prompts_hash"] == prompts_hash(engine.init_prompt)


def test_a_new_text_and_a_new_wording_are_one_entry_each(base, monkeypatch):
    monkeypatch.setitem(guidance.TEXTS, "shout", lambda asked: asked.local.upper())
    monkeypatch.setitem(guidance.QUESTIONS, "mine", guidance.Questions("who?", "what?"))
    monkeypatch.setattr(Hermes, "guidance", lambda policy, layer: "shout")
    engine = open_stream(base, guidance_prompts="mine")
    texts = _encoded(engine)
    watch(engine, random_frames(12))
    assert "WHO?" in texts


def test_the_hash_of_guidance_tells_wordings_apart():
    assert len({guidance_hash(name) for name in guidance.QUESTIONS}) == len(guidance.QUESTIONS)


def test_an_unknown_wording_lists_the_known_ones():
    with pytest.raises(ValueError, match="unknown guidance_prompts 'x'; known: default, what_hap"):
        configure(kv_size=1, guidance_prompts="x")


def test_chunk_length_changes_where_the_stream_is_cut_and_nothing_else(load):
    """Without evictions chunks of any size leave the same memory."""
    held, lengths = [], []
    for size in (3, 8):
        stream = Stream(open_stream(load("llava"), kv_size=500, chunk_frames=size))
        ends: list[int] = []
        stream.watch(random_frames(8), on_chunk=lambda s, ends=ends: ends.append(s.num_frames))
        held.append(contents(stream.engine))
        lengths.append(ends)
    assert lengths == [[3, 6, 8], [8]]
    assert torch.equal(held[0]["positions"], held[1]["positions"])
    assert largest_error(held[0]["keys"], held[1]["keys"]) < TOLERANCE
