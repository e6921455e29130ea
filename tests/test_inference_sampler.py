"""Choosing the next token, against the rule stated as a loop."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.answers.sampler import Sampler
from inference.errors import NonFiniteLogitsError

LOGITS = st.lists(st.floats(-5, 5, width=32), min_size=6, max_size=6)


@settings(deadline=None)
@given(st.lists(LOGITS, min_size=1, max_size=6), st.floats(1, 3))
def test_penalty_is_over_generated_tokens_once_each(steps, penalty):
    sampler, seen = Sampler(repetition_penalty=penalty), set()
    for logits in steps:
        scores = [
            (x * penalty if x < 0 else x / penalty) if token in seen else x
            for token, x in enumerate(logits)
        ]
        chosen = sampler(torch.tensor(logits))
        assert scores[chosen] == pytest.approx(max(scores), abs=1e-5)
        seen.add(chosen)


def test_the_logits_of_the_caller_stay():
    logits = torch.tensor([1.0, 3.0, 2.9])
    sampler = Sampler(repetition_penalty=1.1)
    assert [sampler(logits), sampler(logits)] == [1, 2]
    assert torch.equal(logits, torch.tensor([1.0, 3.0, 2.9]))


def test_temperature_draws_by_the_tempered_softmax():
    logits = torch.tensor([0.0, 1.0, 2.0])
    sampler = Sampler(temperature=2.0, repetition_penalty=1, seed=0)
    draws = torch.tensor([sampler(logits) for _ in range(4000)])
    expected = (logits / 2).softmax(-1)
    assert torch.allclose(draws.bincount() / 4000, expected, atol=0.03)


def test_a_seed_repeats_the_draws():
    logits = torch.zeros(50)
    runs = [[Sampler(1.0, seed=3)(logits) for _ in range(5)] for _ in range(2)]
    assert runs[0] == runs[1]


def test_greedy_in_half_precision_decides_in_float32():
    logits = torch.tensor([1.0, 1.05, 1.0], dtype=torch.float16)
    sampler = Sampler(repetition_penalty=1.1)
    assert [sampler(logits), sampler(logits)] == [1, 0]


@pytest.mark.parametrize(("temperature", "penalty"), [(-0.1, 1.1), (0, 0), (0, -1)])
def test_senseless_settings_are_refused(temperature, penalty):
    with pytest.raises(ValueError, match=r"temperature must be .* got"):
        Sampler(temperature, penalty)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("where", [slice(None), 3])
@pytest.mark.parametrize("temperature", [0, 0.7])
def test_logits_that_are_not_finite_are_refused(bad, where, temperature):
    if temperature and bad == -torch.inf and where == 3:
        return  # a token that is never drawn
    sampler, logits = Sampler(temperature), torch.zeros(8, dtype=torch.float16)
    sampler(logits)
    logits[where] = bad
    with pytest.raises(NonFiniteLogitsError, match=r'token 2 .*float16.*dtype="bfloat16"'):
        sampler(logits)


def test_a_token_and_its_check_are_one_transfer(monkeypatch):
    """Each of these waits for a GPU; `tolist` is called once."""
    calls = []
    original = torch.Tensor.tolist
    monkeypatch.setattr(
        torch.Tensor, "tolist", lambda self: [calls.append("tolist"), original(self)][1]
    )
    for name in ("item", "__bool__", "__int__", "cpu", "nonzero"):
        monkeypatch.setattr(torch.Tensor, name, lambda self, name=name: calls.append(name))
    assert Sampler()(torch.tensor([0.0, 2.0, 1.0])) == 1
    assert calls == ["tolist"]
