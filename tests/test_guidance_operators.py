"""What scoring and compaction of `hermes` launch, counted on a pretended GPU at several depths;
and that blocks and packed texts change no attention.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from pretended_device import Traffic
from pretended_stream import CHUNK_FRAMES, stream_on_pretended
from tiny import assert_same, contents, largest_error, open_stream, random_frames, watch

from efficiency.operators import Operators
from hermes.store import blocks
from inference.answers.prompts import guidance_texts
from inference.guidance import PROBES

CONSTANT, PER_LAYER = 40, 6
PROJECTION = 2
"""Norm and one product, as the fused decoder takes them; whatever it takes is left out here."""


@contextmanager
def _without_projections(engine: Any, traffic: Traffic) -> Iterator[list[int]]:
    """Operators of `decoder.project`, one entry per call."""
    project, taken = engine.decoder.project, []

    def counted(layer: int, hidden: torch.Tensor) -> Any:
        before = sum(traffic.operators.values())
        result = project(layer, hidden)
        taken.append(sum(traffic.operators.values()) - before)
        return result

    engine.decoder.project = counted
    yield taken
    engine.decoder.project = project


def _deepened(engine: Any, depth: int) -> Any:
    """The same stream over a model of so many layers, which repeat."""
    language = engine.model.model.language_model
    own = language.layers
    try:
        language.layers = torch.nn.ModuleList(own[i % len(own)] for i in range(depth))
        return type(engine)(
            engine.model, engine.processor, engine.config, sample_fps=engine.sample_fps
        )
    finally:
        language.layers = own


def _compression(base: Any, depth: int) -> int:
    """Operators of a compression in the steady state, projections as `PROJECTION` each."""
    with stream_on_pretended(base, 1, policy="hermes") as (engine, traffic):
        engine = _deepened(engine, depth)
        frames = CHUNK_FRAMES[engine.family]
        for step in range(4):
            engine.encode_video_chunk(random_frames(frames, seed=step))
            traffic.clear()
            with _without_projections(engine, traffic) as taken:
                engine.predict_and_compress()
        assert engine.last_compression.kept is not None and taken
        return sum(traffic.operators.values()) - sum(taken) + PROJECTION * len(taken)


def test_operators_of_a_compression(base):
    """The steps that are not batched over the layers are the projections."""
    few, many = _compression(base, 10), _compression(base, 20)
    assert few <= CONSTANT + 10 * PER_LAYER and many <= CONSTANT + 20 * PER_LAYER, (few, many)
    assert (many - few) / 10 <= PROJECTION


def test_operators_of_a_compression_in_blocks_of_few_layers(base, monkeypatch):
    """As at the size of a real model, where the maps of two layers are a block."""
    longest = max(map(len, guidance_texts().values()))
    heads, tokens = base.text_config.num_attention_heads, 40
    monkeypatch.setattr(blocks, "MOST_NUMBERS", 2 * heads * longest * (longest + tokens + 40))
    assert _compression(base, 28) <= CONSTANT + 28 * PER_LAYER


WANTED = {0: "local", 2: "mixed", 3: "mixed", 5: "mixed", 8: "global", 9: "global"}


@pytest.mark.parametrize("probe", PROBES)
def test_blocks_of_layers_and_queries_change_nothing(base, probe, monkeypatch):
    engine = open_stream(base, kv_size=24, probe=probe)
    watch(engine, random_frames(16, seed=2))
    before = contents(engine)
    (whole,) = engine.guidance_attention(WANTED)
    monkeypatch.setattr(blocks, "MOST_NUMBERS", 5000)
    (parts,) = engine.guidance_attention(WANTED)
    assert largest_error(parts, whole) < 1e-6
    assert_same(before, contents(engine))


def test_working_memory_is_a_block(base, monkeypatch):
    """Logits and weights of a block exist at a time, not those of all layers."""
    engine = open_stream(base, kv_size=24)
    watch(engine, random_frames(16, seed=2))
    peaks = []
    for most in (blocks.MOST_NUMBERS, 100_000):
        monkeypatch.setattr(blocks, "MOST_NUMBERS", most)
        with Operators() as counted:
            engine.guidance_attention(dict.fromkeys(range(10), "mixed"))
        peaks.append(counted.peak_bytes)
    maps = 2 * 4 * 100_000
    assert peaks[1] < maps + peaks[0] // 2 < peaks[0]


def test_packed_texts_are_the_separate_passes(base):
    """In one pass, each text only as deep as it is wanted."""
    engine = open_stream(base, kv_size=24, probe="exact")
    watch(engine, random_frames(16, seed=2))
    embedded = {
        name: engine.embed(engine.processor.encode(guidance_texts()[name]))
        for name in set(WANTED.values())
    }
    given = engine.decoder, engine.memory, engine.rule
    (packed,) = PROBES["exact"](*given, embedded, WANTED)
    separate = torch.zeros_like(packed)
    for name in embedded:
        wanted = {layer: text for layer, text in WANTED.items() if text == name}
        separate += PROBES["exact"](*given, embedded, wanted)[0]
    assert largest_error(packed, separate) < 1e-6
    rows = []
    project = engine.decoder.project
    engine.decoder.project = lambda layer, hidden: (
        rows.append(len(hidden)),
        project(layer, hidden),
    )[1]
    PROBES["exact"](*given, embedded, WANTED)
    lengths = {name: len(text) for name, text in embedded.items()}
    deeper = lengths["mixed"] + lengths["global"]
    assert rows == [deeper + lengths["local"], *[deeper] * 5, *[lengths["global"]] * 4]
