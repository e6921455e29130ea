"""Qwen3-VL, oracle 1: a budget larger than the stream gives transformers' own forward."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from qwen3_reference import FPS, GRID, QUESTION, frames_of, own_logits, template, video_text
from tiny import TOLERANCE, largest_error, open_stream

CHUNKS = {"one chunk": [24], "even": [8, 8, 8], "uneven": [2, 14, 8], "odd": [4, 5]}
"""24 frames are 12 seconds: their stamps differ in length."""


def _watched(base, chunks, **named):
    engine = open_stream(base, kv_size=2000, sample_fps=FPS, **named)
    frames, start = frames_of(sum(chunks)), 0
    for size in chunks:
        engine.encode_video_chunk(frames[start : start + size])
        engine.predict_and_compress()
        start += size
    return engine, frames


RUNS = [("qwen3", name, outer) for name in CHUNKS for outer in (True, False)]


@pytest.mark.parametrize(("family", "chunks", "outer"), [*RUNS, ("qwen3_moe", "odd", True)])
def test_logits_are_the_models_own(load, family, chunks, outer):
    engine, frames = _watched(load(family), CHUNKS[chunks], outer_markers=outer)
    hidden = engine.read_text(engine.closing_prompt + QUESTION, output="all")
    count = len(engine.processor.encode(QUESTION))
    logits = engine.model.lm_head(hidden[-count:]).detach()
    assert largest_error(logits, own_logits(engine, frames, QUESTION, outer=outer)) < TOLERANCE


@pytest.mark.parametrize("policy", ["none", "last_frames"])
@pytest.mark.parametrize("cache", [True, False])
def test_the_answer_is_the_models_own(load, policy, cache):
    """Through the question loop, which closes the video; frames read afresh are stamped afresh."""
    options = {"policy_options": {"cache_features": cache}} if policy == "last_frames" else {}
    engine, frames = _watched(load("qwen3"), [8, 8, 8], policy=policy, **options)
    asked = {"question": "", "prompt": QUESTION}
    answer = engine.question_answering(asked, max_new_tokens=1, repetition_penalty=1)
    best = int(own_logits(engine, frames, QUESTION)[-1].argmax())
    assert answer.strip() == engine.processor.decode_raw([best]).strip()


@torch.no_grad()
def test_the_two_prompts_differ(load):
    """Or the tests above would not tell them apart."""
    frames = frames_of(8)
    new, old = (own_logits(load("qwen3"), frames, QUESTION, outer=outer) for outer in (True, False))
    assert largest_error(new, old) > 100 * TOLERANCE


def test_the_text_read_is_the_processors(load):
    """Token for token, with the places of the picture filled in."""
    base = load("qwen3")
    engine, _ = _watched(base, [24])
    moments = [index / FPS + 0.25 for index in range(0, 24, 2)]
    picture = "<video>" * (GRID[0] * GRID[1])
    texts = [picture.join(engine.frame_text(moment)) for moment in moments]
    ours = engine.init_prompt + "".join(texts) + engine.closing_prompt + QUESTION
    assert ours == template(video_text(24), QUESTION, outer=True)
    assert engine.memory.num_tokens == len(engine.processor.encode(ours)) - len(
        engine.processor.encode(engine.closing_prompt + QUESTION)
    )


def test_positions_are_the_models_own(load):
    engine, _ = _watched(load("qwen3"), [6, 10, 8], policy="none")
    ids = engine.processor.encode(template(video_text(24), "", outer=True))[None]
    is_video = (ids == engine.model.config.video_token_id).int()
    rows, columns = (2 * side for side in GRID)
    positions, _ = engine.model.model.get_rope_index(
        ids, 2 * is_video, video_grid_thw=torch.tensor([[12, rows, columns]])
    )
    used = engine.memory.num_tokens
    assert torch.equal(engine.memory.positions[3, :, :used].cpu(), positions[:, 0, :used])


def test_without_the_tapped_depths_the_features_would_be_others(load):
    """What guards the addition: leaving it out is no rounding error."""
    base = load("qwen3")
    engine, frames = _watched(base, [8])
    bare = open_stream(base, kv_size=2000, sample_fps=FPS)
    see = bare.see
    bare.see = lambda frames: replace(see(frames), added=())
    bare.encode_video_chunk(frames)
    first, other = (stream.memory.layers[4].keys for stream in (engine, bare))
    used = engine.memory.num_tokens
    assert largest_error(first[:, :used], other[:, :used]) > 0.1
