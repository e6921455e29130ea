"""Oracle 6: half precision costs at most twice what the naive half-precision formula costs.

Naive = as in the release: cosines, products and scores in the model's dtype, keys stored rotated
and rotated again at every renumbering. Reference = the same arithmetic in float32 or float64.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from independent import embed_frames, embed_text, place, position_ids
from tiny import SIDE, largest_error, open_stream
from transformers import DynamicCache

from hermes.rotation import rotate
from hermes.scores.attention import mean_attention

HALVES = {"float16": torch.float16, "bfloat16": torch.bfloat16}
QUESTION = "\nWhat moved?<|im_end|><|im_start|>assistant\n"
KV_SIZE = 24


def _half_rotated(states, cos, sin):
    """The usual formula; in half precision every factor and product is rounded."""
    middle = states.shape[-1] // 2
    turned = torch.cat((-states[..., middle:], states[..., :middle]), dim=-1)
    return states * cos + turned * sin


@pytest.mark.parametrize("dtype", HALVES.values(), ids=HALVES)
@pytest.mark.parametrize("start", [0, 30_000])
def test_rotation(dtype, start):
    generator = torch.Generator().manual_seed(start)
    states = torch.randn(2, 200, 64, generator=generator).to(dtype)
    frequencies = 1e4 ** -(torch.arange(32, dtype=torch.float64) / 32)
    angles = torch.outer(torch.arange(start, start + 200, dtype=torch.float64), frequencies)
    angles = torch.cat((angles, angles), dim=-1)
    cos, sin = angles.cos(), angles.sin()
    exact = _half_rotated(states.double(), cos, sin)
    naive = _half_rotated(states, cos.to(dtype), sin.to(dtype))
    ours = rotate(states, cos.float(), sin.float())
    assert ours.dtype == dtype
    assert largest_error(ours, exact) <= 2 * largest_error(naive, exact)
    assert largest_error(ours, exact) <= torch.finfo(dtype).eps * 4


@pytest.mark.parametrize("dtype", HALVES.values(), ids=HALVES)
def test_scoring(dtype):
    """Order matters, so the error is taken relative to each token's attention."""
    generator = torch.Generator().manual_seed(1)
    queries = torch.randn(4, 12, 32, generator=generator)
    keys = torch.randn(2, 3000, 32, generator=generator)
    columns, scaling = slice(10, 2988), 32**-0.5

    def naive(queries, keys):
        logits = queries @ keys.repeat_interleave(2, dim=0).transpose(1, 2) * scaling
        return logits.softmax(-1).mean(dim=(0, 1))[columns]

    exact = naive(queries.double(), keys.double())
    half = (queries.to(dtype), keys.to(dtype))
    errors = [
        ((found.double() - exact) / exact).abs().mean()
        for found in (mean_attention(*half, scaling, columns, causal=False), naive(*half))
    ]
    assert errors[0] <= 2 * errors[1]


class NaiveRun:
    """The checkpoint's own forward, chunk by chunk, on a cache of rotated keys (sliding window)."""

    def __init__(self, engine) -> None:
        self.engine, self.cache = engine, DynamicCache()
        axes = 3 if engine.family == "qwen" else 1
        self.positions = np.zeros((axes, 0))

    @torch.no_grad()
    def read(self, embeddings, shape):
        """Append; returns the normalised hidden states."""
        start = self.positions.max() + 1 if self.positions.size else 0
        new = place(self.engine.family, start, shape, time_step=4)
        self.positions = np.concatenate((self.positions, new), axis=1)
        return self.engine.language_model(
            inputs_embeds=embeddings[None],
            position_ids=position_ids(self.engine, new),
            past_key_values=self.cache,
        ).last_hidden_state[0]

    @torch.no_grad()
    def slide(self, prefix: int) -> None:
        """Keep prefix and the newest, renumber, rotate the stored keys by the difference."""
        total = self.positions.shape[1]
        rows = np.r_[0:prefix, max(prefix, total - KV_SIZE) : total]
        old = self.positions[:, rows]
        ranks = [prefix + np.unique(axis[prefix:], return_inverse=True)[1] for axis in old]
        self.positions = np.concatenate((old[:, :prefix], np.stack(ranks)), axis=1)
        rotary = self.engine.language_model.rotary_emb
        for layer in self.cache.layers:
            layer.keys, layer.values = layer.keys[:, :, rows], layer.values[:, :, rows]
            cos, sin = rotary(layer.keys, position_ids(self.engine, self.positions - old))
            layer.keys = _half_rotated(layer.keys, cos, sin)


def _smooth_video() -> np.ndarray:
    """Noise is at its most sensitive to rounding; drifting gradients look more like video."""
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    frames = [np.stack((y + 5 * t, x + 9 * t, x + y - 7 * t), -1) * 3 % 256 for t in range(48)]
    return np.stack(frames).astype(np.uint8)


def _naive_run(engine):
    run, frames = NaiveRun(engine), _smooth_video()
    prefix = embed_text(engine, engine.init_prompt)
    run.read(prefix, (len(prefix),))
    for start in range(0, len(frames), 8):
        shape = (32,) if engine.family == "llava" else (4, 2, 2)
        run.read(embed_frames(engine, frames[start : start + 8]), shape)
        run.slide(len(prefix))
    question = embed_text(engine, QUESTION)
    return run.read(question, (len(question),))


@torch.no_grad()
def _our_run(base):
    engine = open_stream(base, kv_size=KV_SIZE, policy="recent", reindex="eager")
    frames = _smooth_video()
    for start in range(0, len(frames), 8):
        engine.encode_video_chunk(frames[start : start + 8])
        engine.predict_and_compress()
    return engine.read_text(QUESTION, output="all")


def test_a_whole_run_equals_the_naive_one_in_float32(base):
    assert largest_error(_our_run(base), _naive_run(base)) < 1e-4


@pytest.mark.parametrize("dtype", HALVES)
def test_a_whole_run(family, load, dtype):
    exact = _naive_run(load(family)).double().cpu()
    half = load(family, dtype)
    ours, naive = (run(half).double().cpu() for run in (_our_run, _naive_run))
    assert (ours - exact).abs().mean() <= 2 * (naive - exact).abs().mean()
    assert (ours - exact).abs().max() <= 2 * (naive - exact).abs().max()


def test_half_precision_rotates_by_float32_angles(family, load):
    """Frequencies rounded to half precision would be wrong by whole turns far out."""
    positions = torch.tensor([[1, 999, 25_000]] * (3 if family == "qwen" else 1))
    tables = [
        load(family, dtype).decoder.angles(positions.to(load(family, dtype).device))
        for dtype in ("float32", "float16")
    ]
    for exact, half in zip(*tables, strict=True):
        assert exact.dtype == half.dtype == torch.float32
        assert torch.equal(exact, half)
