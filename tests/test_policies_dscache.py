"""dscache against transformers' own forward: a masked past, a fresh prefill, both in one cache."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from independent import (
    chunk_shape,
    embed_frames,
    embed_text,
    masked_forward,
    place,
    plain_forward,
    position_ids,
)
from tiny import TOLERANCE, ask, largest_error, open_stream, random_frames, watch
from transformers import DynamicCache

from inference import FrameError

KV_SIZE, TOKENS, NUM_CHUNKS, CHUNK_FRAMES = 24, 4, 3, 8
QUESTION = "\nWho?<|im_end|><|im_start|>assistant\n"


def _turned(engine, keys: torch.Tensor, positions: np.ndarray, sign: int) -> torch.Tensor:
    """(g, n, d) keys rotated to their positions, or back."""
    cos, sin = engine.language_model.rotary_emb(keys, position_ids(engine, positions))
    half = keys.shape[-1] // 2
    swapped = torch.cat((-keys[..., half:], keys[..., :half]), dim=-1)
    return keys * cos[0] + sign * swapped * sin[0]


def _past(engine, frames: np.ndarray):
    """The whole stream in one forward, in which each chunk sees the newest KV_SIZE tokens alone;
    and where its tokens stood."""
    prefix = embed_text(engine, engine.init_prompt)
    pieces, positions = [prefix], [place(engine.family, 0, (len(prefix),), time_step=4)]
    seen = [list(range(i + 1)) for i in range(len(prefix))]
    for start in range(0, len(frames), CHUNK_FRAMES):
        chunk = frames[start : start + CHUNK_FRAMES]
        first, count = len(seen), TOKENS * len(chunk) // engine.frames_per_step
        window = [*range(len(prefix)), *range(max(len(prefix), first - KV_SIZE), first)]
        seen += [[*window, *range(first, first + i + 1)] for i in range(count)]
        pieces.append(embed_frames(engine, chunk))
        shape = chunk_shape(engine.family, len(chunk))
        positions.append(place(engine.family, positions[-1].max() + 1, shape, time_step=4))
    mask = np.zeros((len(seen), len(seen)), dtype=bool)
    for row, columns in enumerate(seen):
        mask[row, columns] = True
    placed, layers = np.concatenate(positions, axis=1), engine.memory.num_layers
    repeated = np.stack([placed] * layers), np.stack([mask] * layers)
    return masked_forward(engine, torch.cat(pieces), *repeated), placed


def _instant(engine, frames: np.ndarray):
    """Prefix and frames, nothing else; and where they stood."""
    prefix = embed_text(engine, engine.init_prompt)
    first = place(engine.family, 0, (len(prefix),), time_step=4)
    shape = chunk_shape(engine.family, len(frames))
    placed = np.concatenate((first, place(engine.family, len(prefix), shape, time_step=4)), axis=1)
    return plain_forward(engine, torch.cat((prefix, embed_frames(engine, frames))), placed), placed


def _gapless(engine, count: int, num_prefix: int) -> np.ndarray:
    """(a, n) positions of the prefix and of `count` frames without gaps between them."""
    first = place(engine.family, 0, (num_prefix,), time_step=1)
    shape = (TOKENS * count,) if engine.family == "llava" else (count, 2, 2)
    return np.concatenate((first, place(engine.family, num_prefix, shape, time_step=1)), axis=1)


@torch.no_grad()
def _expected(engine, frames: np.ndarray, num_instant: int) -> torch.Tensor:
    past, stood = _past(engine, frames)
    instant, stood_instant = _instant(engine, frames[-num_instant * engine.frames_per_step :])
    total, num_prefix = KV_SIZE // TOKENS, engine.memory.num_prefix
    new, own = KV_SIZE, num_instant * TOKENS  # the window, and what is afresh in it
    places, cache = _gapless(engine, total, num_prefix), DynamicCache()
    for layer in range(engine.memory.num_layers):
        old, fresh = (
            _turned(engine, states.keys[layer], where, -1)
            for states, where in ((past, stood), (instant, stood_instant))
        )
        keys = torch.cat((old[:, :num_prefix], old[:, -new:-own], fresh[:, -own:]), dim=1)
        values = [past.values[layer], instant.values[layer]]
        parts = values[0][:, :num_prefix], values[0][:, -new:-own], values[1][:, -own:]
        joined = torch.cat(parts, dim=1)
        cache.update(_turned(engine, keys, places, 1)[None], joined[None], layer)
    question = embed_text(engine, QUESTION)
    at = place(engine.family, places.max() + 1, (len(question),), time_step=1)
    ids = position_ids(engine, at)
    output = engine.language_model(
        inputs_embeds=question[None], position_ids=ids, past_key_values=cache
    )
    return output.last_hidden_state[0]


def _hidden(engine) -> torch.Tensor:
    with engine.memory.scratch():
        memory, recall = engine.kept.prepare()
        assert recall is None
        ids = engine.processor.encode(QUESTION)
        with memory.scratch():
            placement = engine.rule.text(len(ids), engine.device)
            return engine.decoder.forward(memory, engine.embed(ids), placement, output="all")


@pytest.mark.parametrize(("share", "num_instant"), [(0.34, 2), (0.0, 1), (0.7, 4)])
def test_the_past_as_it_was_seen_and_the_present_afresh(base, share, num_instant):
    frames = random_frames(NUM_CHUNKS * CHUNK_FRAMES * base.frames_per_step)
    settings = {"kv_size": KV_SIZE, "policy_options": {"instant_share": share}}
    engine = open_stream(base, policy="dscache", **settings)
    watch(engine, frames, chunk_frames=CHUNK_FRAMES)
    hidden = _hidden(engine)
    assert largest_error(hidden, _expected(engine, frames, num_instant)) < TOLERANCE
    assert largest_error(_hidden(engine), hidden) == 0, "asked twice, answered alike"
    active, _ = engine.kept.prepare()
    assert active.num_visual == engine.memory.num_visual == KV_SIZE
    shown = active.provenance.frame[0, active.num_prefix : active.num_tokens].unique().tolist()
    step = engine.frames_per_step
    assert shown == list(range(len(frames) - 6 * step, len(frames), step))
    engine.memory.check_integrity(engine.max_positions)


def test_the_present_owes_nothing_to_the_past(load):
    """All of the budget afresh is the last frames' own prefill. On one axis only: on three, gapless
    positions are not those of a video."""
    frames, hidden = random_frames(16), []
    for policy, options in (("dscache", {"instant_share": 1.0}), ("last_frames", {})):
        engine = open_stream(load("llava"), policy=policy, policy_options=options, kv_size=KV_SIZE)
        watch(engine, frames)
        hidden.append(_hidden(engine))
    assert largest_error(*hidden) < TOLERANCE


def test_frames_of_other_pixels_are_refused_before_they_are_read(base):
    engine = open_stream(base, policy="dscache")
    watch(engine, random_frames(8))
    before = engine.memory.num_tokens
    with pytest.raises(FrameError, match="'dscache' needs frames of one size"):
        engine.encode_video_chunk(random_frames(4, side=84))
    assert engine.memory.num_tokens == before
    assert isinstance(ask(engine), str)


def test_uncached_frames_answer_alike_and_are_paid_for(base):
    answers, spent = set(), []
    for cached in (True, False):
        options = {"cache_features": cached}
        engine = open_stream(base, policy="dscache", policy_options=options)
        watch(engine, random_frames(24 * base.frames_per_step))
        answers.add(ask(engine))
        spent.append(engine.kept.vision_seconds)
    assert len(answers) == 1
    assert spent[0][0] > 0 and spent[0][1] == 0 and spent[1][0] == 0 and spent[1][1] > 0
