"""Oracles 3 and 7: renumbering changes integers only, and however often it happens."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from independent import embed_frames, embed_text, plain_forward
from tiny import TOLERANCE, largest_error, open_stream, random_frames

from hermes import StreamMemory
from inference.reindex_1d import Positions1D
from inference.reindex_3d import Positions3D

LIMITS = {"llava": 200, "qwen": 80}
"""So small that the lazy runs renumber several times."""


def _ranked(positions: np.ndarray, prefix: int, family: str) -> np.ndarray:
    """The released rule with numpy: 0..m-1 on one axis, ranks of distinct values on three."""
    if family == "llava":
        return np.arange(positions.shape[1])[None]
    visual = [prefix + np.unique(axis[prefix:], return_inverse=True)[1] for axis in positions]
    return np.concatenate((positions[:, :prefix], np.stack(visual)), axis=1)


@pytest.mark.parametrize("reindex", ["lazy", "eager"])
@torch.no_grad()
def test_layer_0_keys_are_those_of_a_fresh_prefill_of_what_was_kept(base, reindex):
    limit = LIMITS[base.family]
    engine = open_stream(base, kv_size=24, policy="random", reindex=reindex, position_limit=limit)
    frames = random_frames(128, seed=5)
    alive, features, renumbered = [], [], 0
    for step in range(16):
        engine.encode_video_chunk(frames[8 * step : 8 * step + 8])
        features.append(embed_frames(engine, frames[8 * step : 8 * step + 8]))
        alive += range(sum(map(len, features[:-1])), sum(map(len, features)))
        before = engine.memory.positions[0, :, : engine.memory.num_tokens].cpu().numpy().copy()
        engine.predict_and_compress()
        done = engine.last_compression
        kept = np.arange(len(alive)) if done.kept is None else done.kept[0].cpu().numpy()
        alive = [alive[i] for i in kept]
        if not done.renumbered:
            continue
        renumbered += 1
        prefix = engine.memory.num_prefix
        rows = np.concatenate((np.arange(prefix), prefix + kept))
        expected = _ranked(before[:, rows], prefix, engine.family)
        after = engine.memory.positions[0, :, : engine.memory.num_tokens].cpu().numpy()
        assert np.array_equal(after, expected)
        embeddings = torch.cat([embed_text(engine, engine.init_prompt), torch.cat(features)[alive]])
        fresh = plain_forward(engine, embeddings, expected)
        assert largest_error(engine.kv_cache[0][0][0], fresh.keys[0]) < TOLERANCE
        assert largest_error(engine.kv_cache[0][1][0], fresh.values[0]) < TOLERANCE
    assert renumbered >= 2, "the run must renumber for this test to mean anything"


def test_a_policy_that_cuts_below_its_budget_keeps_the_margin_too(base):
    """Between two prunings its chunks fit, nothing is pruned, and positions still move on."""
    limit = {"llava": 230, "qwen": 140}[base.family]
    policy = {"policy": "infinipot_v", "policy_options": {"target_ratio": 0.25}}
    engine = open_stream(base, kv_size=128, reindex="lazy", position_limit=limit, **policy)
    frames, free = random_frames(160, seed=5), []
    for step in range(80):
        engine.encode_video_chunk(frames[2 * step : 2 * step + 2])
        engine.predict_and_compress()
        free.append(limit - engine.memory.measure_positions())
    assert min(free) >= engine.config.margin_for(limit) - 1


def _one_layer(base, kv_dtype: str) -> StreamMemory:
    """A memory of one layer with random keys: a prefix of 10 and 24 visual tokens."""
    text = base.text_config
    shape = (text.num_key_value_heads, base.language_model.layers[0].self_attn.head_dim)
    rule, generator = base.position_rule(), torch.Generator().manual_seed(0)
    memory = StreamMemory(
        [base.device],
        *shape,
        64,
        torch.float32,
        base.decoder.angles,
        rule.num_axes,
        rule.dtype,
        kv_dtype=kv_dtype,
    )
    grid = rule.text(24) if rule.num_axes == 1 else rule.grid(6, 2, 2)
    for placement in (rule.text(10), grid):
        states = torch.randn(2, shape[0], placement.num_tokens, shape[1], generator=generator)
        placed = placement
        with memory.append(placed) as angles:
            memory.write(0, *states.to(base.device), *angles(0))
        if not memory.num_prefix:
            memory.close_prefix()
    return memory


@pytest.mark.parametrize("kv_dtype", ["model", "int8"])
@torch.no_grad()
def test_ten_thousand_renumberings_equal_one(base, kv_dtype):
    """Keys that were re-rotated each time would have drifted by far more than rounding."""
    once, often = _one_layer(base, kv_dtype), _one_layer(base, kv_dtype)
    rule = base.position_rule()

    def spread_out(positions: torch.Tensor, num_prefix: int) -> torch.Tensor:
        shifted = positions.clone()
        shifted[..., num_prefix:] = shifted[..., num_prefix:] * 3 + 11
        return shifted

    for step in range(10_000):
        often.renumber(rule.renumber if step % 2 else spread_out)
        if step % 10 < 2:  # rotates at the passing positions
            often.refresh()
    once.renumber(rule.renumber)
    once.refresh()
    used = slice(0, once.num_tokens)
    assert torch.equal(once.positions[..., used], often.positions[..., used])
    for name in ("keys", "values", "rotated"):
        for left, right in zip(
            *(memory.stacks[0].parts(name) for memory in (once, often)), strict=True
        ):
            assert torch.equal(left[:, :, used], right[:, :, used]), name


@pytest.mark.parametrize("rule", [Positions1D(), Positions3D(4.0)], ids=["1d", "3d"])
def test_renumbering_twice_is_renumbering_once(rule):
    generator = torch.Generator().manual_seed(0)
    steps = torch.randint(0, 5, (rule.num_axes, 60), generator=generator)
    positions = steps.cumsum(1).to(rule.dtype)
    positions[:, :10] = torch.arange(10)
    positions[:, 10:] += 10
    once = rule.renumber(positions, 10)
    assert torch.equal(rule.renumber(once, 10), once)
    assert torch.equal(once[:, :10], positions[:, :10])
    assert np.array_equal(once.numpy(), _ranked(positions.numpy(), 10, _family(rule)))


def _family(rule: Positions1D | Positions3D) -> str:
    return "llava" if rule.num_axes == 1 else "qwen"
