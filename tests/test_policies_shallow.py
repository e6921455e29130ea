"""shallow_stream against plain loops and transformers' own first layers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from independent import chunk_shape, embed_frames, embed_text, place, plain_forward, position_ids
from policy_memory import HEADS, WIDTH, policy_of
from tiny import TOLERANCE, ask, largest_error, open_stream, random_frames, watch

LENGTH, QUERY_HEADS, DEPTH = 4, 4, 3


def _looks(query: list, keys: list) -> list[float]:
    """Attention of (h, d) to (n, g, d), mean over heads."""
    mean = [0.0] * len(keys)
    for head, asking in enumerate(query):
        group = head * HEADS // QUERY_HEADS
        logits = [
            sum(a * b for a, b in zip(asking, key[group], strict=True)) * WIDTH**-0.5
            for key in keys
        ]
        largest = max(logits)
        weights = [math.exp(logit - largest) for logit in logits]
        mean = [m + w / sum(weights) / len(query) for m, w in zip(mean, weights, strict=True)]
    return mean


def _unit(units: list, unit: int) -> list[float]:
    """Normalised mean over the tokens of a unit, heads side by side."""
    tokens = [[number for head in token for number in head] for token in units[unit]]
    mean = [sum(column) / len(tokens) for column in zip(*tokens, strict=True)]
    size = math.sqrt(sum(number * number for number in mean))
    return [number / size for number in mean]


def _expected(keys: torch.Tensor, queries: torch.Tensor, count: int, options: dict) -> list[int]:
    """Keys (f, l, g, t, d); the description as loops."""
    frames = len(keys)
    recent = max(1, round(options["recent_share"] * count))
    older = list(range(frames - recent))
    votes = dict.fromkeys(older, 0)
    for layer in range(DEPTH):
        units = keys[:, layer].transpose(1, 2).tolist()
        looks = _looks(queries[layer].tolist(), [token for unit in older for token in units[unit]])
        best = sorted(range(len(looks)), key=lambda token: -looks[token])[: options["top_tokens"]]
        for token in best:
            votes[token // LENGTH] += 1
    pool = sorted(older, key=lambda unit: -votes[unit])[: options["pool_size"]]
    pool = sorted(unit for unit in pool if votes[unit])
    taken = [max(pool, key=votes.__getitem__)]
    described = {unit: _unit(units, unit) for unit in pool}
    wanted = (count - recent) // (1 + options["num_preceding"])
    while len(taken) < min(wanted, len(pool)):
        nearest = {
            unit: max(
                sum(a * b for a, b in zip(described[unit], described[one], strict=True))
                for one in taken
            )
            for unit in pool
            if unit not in taken
        }
        taken.append(min(nearest, key=nearest.__getitem__))
    evidence = {unit - step for unit in taken for step in range(1 + options["num_preceding"])}
    return sorted(unit for unit in evidence if unit >= 0) + list(range(frames - recent, frames))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("num_preceding", [0, 1])
def test_evidence_of_a_question(seed, num_preceding):
    generator = torch.Generator().manual_seed(seed)
    keys = torch.randn(30, DEPTH, HEADS, LENGTH, WIDTH, generator=generator)
    queries = torch.randn(DEPTH, QUERY_HEADS, WIDTH, generator=generator)
    options = {
        "top_tokens": 12,
        "pool_size": 9,
        "num_preceding": num_preceding,
        "recent_share": 0.3,
    }
    policy = policy_of("shallow_stream", 40, depth=DEPTH, **options)
    for number, unit in enumerate(keys):
        policy.index(2 * number, unit)
    numbers = list(range(0, 60, 2))
    found = policy.search(numbers, 10, list(queries), [WIDTH**-0.5] * DEPTH)
    assert found == _expected(keys, queries, 10, options)
    assert len(found) <= 10 and found == sorted(set(found))
    assert policy.search(numbers[:10], 10, list(queries), [1.0] * DEPTH) == list(range(10))


def _turned_back(engine, keys: torch.Tensor, positions: np.ndarray) -> torch.Tensor:
    cos, sin = engine.language_model.rotary_emb(keys, position_ids(engine, positions))
    half = keys.shape[-1] // 2
    swapped = torch.cat((-keys[..., half:], keys[..., :half]), dim=-1)
    return keys * cos[0] - swapped * sin[0]


def test_the_index_is_what_the_first_layers_see(base):
    """Keys of the last chunk and the queries of a prompt, by the checkpoint's own forward."""
    engine = open_stream(base, policy="shallow_stream", policy_options={"depth": DEPTH})
    frames = random_frames(16)
    watch(engine, frames)
    prefix = embed_text(engine, engine.init_prompt)
    shapes = (len(prefix),), chunk_shape(engine.family, 8)
    first = place(engine.family, 0, shapes[0], 4)
    second = place(engine.family, len(prefix), shapes[1], 4)
    positions = np.concatenate((first, second), axis=1)
    plain = plain_forward(engine, torch.cat((prefix, embed_frames(engine, frames[8:]))), positions)
    state = engine.kept.state()
    indexed = [state[f"index_{number}"] for number in state["indexed"]]
    assert len(indexed) == 16 // engine.frames_per_step
    ours = torch.cat(indexed[len(indexed) // 2 :], dim=2)
    for layer in range(DEPTH):
        raw = _turned_back(engine, plain.keys[layer], positions)[:, len(prefix) :]
        assert largest_error(ours[layer], raw) < TOLERANCE

    seen: list[torch.Tensor] = []
    hooks = [
        layer.self_attn.q_proj.register_forward_hook(lambda *given: seen.append(given[2][0, -1]))
        for layer in engine.language_model.layers[:DEPTH]
    ]
    prompt = engine.processor.encode("\nWho?")
    both = torch.cat((prefix, engine.embed(prompt)))
    plain_forward(engine, both, place(engine.family, 0, (len(both),), 1))
    for hook in hooks:
        hook.remove()
    for ours, theirs in zip(engine.kept._queries(prompt), seen, strict=True):
        assert largest_error(ours.flatten(), theirs) < TOLERANCE


def test_a_question_reads_what_it_finds(base):
    """Other units than the newest, within the budget; another prompt finds others."""
    engine = open_stream(base, policy="shallow_stream", kv_size=24)
    watch(engine, random_frames(40 * base.frames_per_step))
    newest = [step.number for step in engine.kept.chosen()]
    found = set()
    ask(engine)
    assert engine.kept.chosen()[0].number < newest[0]
    for prompt in "?abcdef":
        with engine.memory.scratch():
            engine.kept.prepare(engine.processor.encode(prompt))
            held = engine.memory.num_visual
        shown = [step.number for step in engine.kept.chosen()]
        assert len(shown) <= 6 and shown == sorted(set(shown)) and shown[-2:] == newest[-2:]
        assert shown[0] < newest[0] and held == 4 * len(shown)
        found.add(tuple(shown))
    assert len(found) > 1
    assert engine.policy.host_bytes > 0
    watch(engine, random_frames(base.frames_per_step))
    assert len(engine.kept.chosen()) == 6, "the newest again, until a question comes"


def test_the_oldest_leave_a_bounded_index(base):
    engine = open_stream(base, policy="shallow_stream", policy_options={"max_units": 8})
    sizes = []
    for seed in range(6):
        watch(engine, random_frames(8, seed=seed))
        sizes.append((engine.policy.host_bytes, engine.kept.num_bytes))
    assert len(set(sizes[2:])) == 1
    keys = base.text_config.num_key_value_heads * base.language_model.layers[0].self_attn.head_dim
    assert sizes[-1][0] == 8 * 4 * (4 * keys + base.text_config.hidden_size) * 4, (
        "fp32, four layers"
    )
    state = engine.kept.state()
    step = engine.frames_per_step
    assert state["indexed"] == list(range(48 - 8 * step, 48, step))


def test_gaps_in_the_index_are_refused(base):
    engine = open_stream(base, policy="shallow_stream")
    watch(engine, random_frames(8))
    state = engine.kept.state()
    gone = state["indexed"].pop()
    del state[f"index_{gone}"]
    other = open_stream(base, policy="shallow_stream")
    with pytest.raises(ValueError, match="are not the same"):
        other.kept.load_state(state, engine.memory)


@pytest.mark.parametrize(
    ("policy", "layers"),
    [("shallow_stream", 4), ("last_frames", 0), ("keyrec", 0), ("dscache", 10), ("hermes", 10)],
)
def test_layers_run_per_frame(base, policy, layers, monkeypatch):
    """As many as are said, counted."""
    engine = open_stream(base, policy=policy)
    watch(engine, random_frames(8))
    run, project = set(), engine.decoder.project
    monkeypatch.setattr(
        engine.decoder, "project", lambda index, hidden: run.add(index) or project(index, hidden)
    )
    engine.encode_video_chunk(random_frames(8))
    assert run == set(range(layers))
    assert engine.describe()["layers_per_frame"] == layers
