"""Qwen3-VL on pretended GPUs: the CPU's stream bit for bit, at the costs of docs/benchmarks.md."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import pytest
import test_inference_pretended
from pretended_device import move
from pretended_stream import kv_size_of, run_stream, stream_on_pretended
from tiny import assert_same, open_stream

from hermes.policies import POLICIES


@pytest.fixture(scope="module")
def on_cpu(load):
    """(family, policy) -> the stream on the CPU; each runs once."""
    return cache(
        lambda family, policy: run_stream(
            open_stream(load(family), policy=policy, kv_size=kv_size_of(load(family)))
        )
    )


@pytest.mark.parametrize("num_devices", [1, 2])
@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_a_stream_on_pretended_gpus_is_the_stream_on_the_cpu(load, on_cpu, policy, num_devices):
    test_inference_pretended.test_a_stream_on_pretended_gpus_is_the_stream_on_the_cpu(
        load, "qwen3", on_cpu, policy, num_devices
    )


OTHER_PATHS = [
    {"policy": "hermes", "frame_text": "scored", "summary": "weighted", "reindex": "eager"},
    {"policy": "hermes", "frame_text": "dropped", "probe": "exact"},
    {"policy": "stratified", "outer_markers": False, "reindex": "eager"},
    {"policy": "last_frames", "policy_options": {"cache_features": False}},
]


@pytest.mark.parametrize("settings", OTHER_PATHS, ids=str)
def test_settings_that_take_other_paths(load, settings):
    base = load("qwen3")
    expected = run_stream(open_stream(base, kv_size=kv_size_of(base), **settings))
    with stream_on_pretended(base, 2, **settings) as (engine, traffic):
        seen = run_stream(engine, traffic)
    assert seen.answers == expected.answers
    assert_same(seen.held, expected.held)


def test_features_for_a_layer_on_another_device(load, on_cpu):
    """They are made where the tower is; the layers that take them may lie elsewhere."""
    with stream_on_pretended(load("qwen3"), 2) as (engine, _):
        try:
            for layer in engine.language_model.layers[1:5]:
                move(layer, "cuda:1")
            seen = run_stream(engine)
        finally:
            for layer in engine.language_model.layers[1:5]:
                move(layer, "cuda:0")  # the copy serves other tests
    expected = on_cpu("qwen3", engine.config.policy)
    assert seen.answers == expected.answers
    assert_same(seen.held, expected.held)


def test_features_that_come_from_another_device(load, on_cpu):
    """Text is set between them where the embeddings are."""
    with stream_on_pretended(load("qwen3"), 2) as (engine, _):
        tower = engine._vision

        def elsewhere(*given):
            seen = tower(*given)
            depths = [depth.to("cuda:1") for depth in seen.deepstack_features]
            pooled = seen.pooler_output.to("cuda:1")
            return SimpleNamespace(pooler_output=pooled, deepstack_features=depths)

        engine._vision = elsewhere
        seen = run_stream(engine)
    assert_same(seen.held, on_cpu("qwen3", engine.config.policy).held)
