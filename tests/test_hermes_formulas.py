"""The formulas against independent loops in numpy (float64)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes import MemoryConfig, MemoryLayout, configure
from hermes.layout import Band
from hermes.policies.uniform import spread
from hermes.positions import dense_ranks
from hermes.scores.attention import mean_attention
from hermes.scores.importance import blend, min_max, recency
from hermes.scores.smoothing import smooth_across_layers, smoothing_matrix
from hermes.scores.summary import fold
from inference.llavaov_hermes import LlavaOneVisionHermes
from inference.qwenvl_hermes import QwenVLHermes


@pytest.mark.parametrize(("num_tokens", "decay"), [(1, 20), (2, 0.5), (7, 8.0), (300, 20.0)])
def test_recency(num_tokens, decay):
    expected = [
        np.exp(-decay * (num_tokens - 1 - i) / max(num_tokens - 1, 1)) for i in range(num_tokens)
    ]
    assert np.allclose(recency(num_tokens, decay), expected, atol=1e-6)


def test_min_max_and_blend():
    generator = np.random.default_rng(0)
    attention, recent = generator.random(50) * 1e-4, generator.random(50)

    def scaled(x: np.ndarray) -> np.ndarray:
        return (x - x.min()) / (x.max() - x.min() + 1e-6)

    ours = [torch.from_numpy(x).float() for x in (attention, recent)]
    assert np.allclose(min_max(ours[0], 1e-6), scaled(attention), atol=1e-5)
    expected = 0.4 * scaled(attention) + 0.6 * scaled(recent)
    weights = torch.tensor([[0.6], [1.0], [0.0]], dtype=torch.float64)
    rows = [tensor.expand(3, -1) for tensor in ours]
    mixed, old, new = blend(rows[0], weights, rows[1], 1e-6)
    assert np.allclose(mixed, expected, atol=1e-5)
    assert np.allclose(old, scaled(recent), atol=1e-6)
    assert np.allclose(new, scaled(attention), atol=1e-5)
    assert torch.equal(blend(None, weights * 0 + 1, rows[1], 1e-6), old.expand(3, -1))
    assert (min_max(torch.ones(5), 1e-6) == 0).all()


@pytest.mark.parametrize("causal", [False, True])
def test_mean_attention(causal):
    generator = np.random.default_rng(1)
    queries, keys = generator.normal(size=(4, 3, 8)), generator.normal(size=(2, 11, 8))
    total = np.zeros(11)
    for head in range(4):
        for row in range(3):
            logits = [queries[head, row] @ key * 0.3 for key in keys[head // 2]]
            for column in range(11):
                if causal and column > 11 - 3 + row:
                    logits[column] = -np.inf
            weights = np.exp(logits)
            total += weights / weights.sum() / 12
    tensors = [torch.from_numpy(x).float() for x in (queries, keys)]
    before = [x.clone() for x in tensors]
    ours = mean_attention(*tensors, 0.3, slice(2, 9), causal=causal)
    assert np.allclose(ours, total[2:9], atol=1e-6)
    assert all(torch.equal(x, y) for x, y in zip(tensors, before, strict=True))


def test_smoothing_runs_from_deep_to_shallow():
    scores = np.random.default_rng(2).random((5, 9))
    weights = [0.1, 0.1, 0.3, 0.4, 0.9]
    expected = scores.copy()
    for layer in (3, 2, 1, 0):
        deeper = expected[layer + 1]
        expected[layer] = (1 - weights[layer]) * expected[layer] + weights[layer] * deeper
    given_scores = torch.from_numpy(scores).float()
    ours = smooth_across_layers(given_scores, smoothing_matrix(weights))
    assert np.allclose(ours, expected, atol=1e-6)
    upper = smooth_across_layers(given_scores[:3], smoothing_matrix(weights[:4]), ours[3])
    assert np.allclose(upper, expected[:3], atol=1e-6), "layers on two devices"
    assert np.allclose(given_scores, scores), "the input stays"


@pytest.mark.parametrize("weighted", [False, True])
def test_fold(weighted):
    generator = np.random.default_rng(3)
    keys, values = generator.normal(size=(2, 2, 10, 4))
    seconds, weights = generator.random(10), np.array([1, 1, 5, 1, 1, 1, 9, 1, 1, 1.0])
    kept, gone = [0, 3, 6], [1, 2, 4, 5, 7, 8, 9]
    share = weights[gone] if weighted else np.ones(len(gone))
    share = share / share.sum()
    tensors = [torch.from_numpy(x).float() for x in (keys, values)]
    pair = [torch.stack((x, 7 + x)) for x in tensors]
    ours = fold(
        slice(3, 5),
        *pair,
        torch.from_numpy(seconds).expand(2, -1),
        torch.from_numpy(weights).float().expand(2, -1),
        torch.tensor(kept).expand(2, -1),
        weighted=weighted,
    )
    assert ours.layers == slice(3, 5)
    for mean, states in ((ours.keys, keys), (ours.values, values)):
        expected = sum(share[i] * states[:, token] for i, token in enumerate(gone))
        assert np.allclose(mean[0], expected, atol=1e-6)
        assert np.allclose(mean[1], 7 + expected, atol=1e-5)
    assert ours.weights.tolist() == [weights[gone].sum()] * 2
    assert ours.seconds[1].item() == pytest.approx((share * seconds[gone]).sum())


@pytest.mark.parametrize(
    ("num_layers", "bands"),
    [(24, (2, 14, 8)), (28, (2, 17, 9)), (36, (3, 22, 11)), (64, (6, 38, 20)), (80, (8, 48, 24))],
)
def test_released_bands(num_layers, bands):
    config = MemoryConfig(kv_size=1)
    layout = MemoryLayout.from_config(num_layers, config)
    names = [layout.band(layer) for layer in range(num_layers)]
    assert tuple(names.count(band) for band in Band) == bands
    assert names == sorted(names, key=lambda band: band.value)


ENGINES = {"llava": LlavaOneVisionHermes, "qwen": QwenVLHermes}
RELEASED = {
    ("released", "llava"): (lambda p: 1.0 - 0.9 * p, lambda p: 20 - 19.5 * p),
    ("released", "qwen"): (lambda p: 0.75 - 0.6 * p, lambda p: 20 - 12 * p),
    ("paper", "llava"): (lambda p: 0.75 - 0.6 * p, lambda p: 20 - 12 * p),
    ("paper", "qwen"): (lambda p: 0.75 - 0.6 * p, lambda p: 20 - 12 * p),
}


@pytest.mark.parametrize(("case", "rule"), RELEASED.items(), ids=map("-".join, RELEASED))
def test_released_weights_of_every_layer(case, rule):
    profile, family = case
    config = configure(profile=profile, family=ENGINES[family].constants, kv_size=1)
    layout = MemoryLayout.from_config(28, config)
    for layer in range(28):
        weight, decay = layout.recency(layer, config)
        if layer < 2:
            expected = (1, 20, 0.1)
        elif layer >= 19:
            expected = (0, 0, 0.4)
        else:
            depth = (layer - 2) / (19 - 2)
            expected = (rule[0](depth), rule[1](depth), 0.3)
        assert (weight, decay, layout.smoothing(layer, config)) == pytest.approx(expected)
    assert config.probe == ("exact" if profile == "paper" else "embedding")


NUMBERS = st.lists(st.sampled_from([0.0, 0.5, 1.25, 3.0, 44.0, 1e5]), max_size=30)


@given(NUMBERS, st.sampled_from([torch.float32, torch.int64]))
def test_dense_ranks_are_those_of_numpy_unique(numbers, dtype):
    values = torch.tensor(numbers).to(dtype)
    expected = np.unique(values.numpy(), return_inverse=True)[1]
    assert dense_ranks(values).tolist() == expected.tolist()


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 6)), min_size=1, max_size=25),
    st.integers(1, 80),
)
def test_spread_drops_the_most_crowded_frame_first(steps, budget):
    frames = np.cumsum([gap for gap, _ in steps]).tolist()
    counts = dict(zip(frames, (count for _, count in steps), strict=True))
    kept = spread(frames, [count for _, count in steps], budget)
    assert kept == sorted(set(kept))
    assert set(kept) <= set(frames)
    assert sum(counts[frame] for frame in kept) <= budget or len(kept) == 1
    left = list(frames)  # the rule once more, as plain words
    while sum(counts[frame] for frame in left) > budget and len(left) > 1:
        inner = [(left[i + 1] - left[i - 1], frame) for i, frame in enumerate(left[1:-1], start=1)]
        left.remove(min(inner)[1] if inner else left[0])
    assert kept == left
