"""Open-ended answers that begin with a space: a dialogue computed plainly replays in the engine."""

from __future__ import annotations

import json

import numpy as np
import pytest
from plain_release import (
    CHUNK_FRAMES,
    NEW_TOKENS,
    NUM_CHUNKS,
    QUESTIONS,
    TRACE,
    PlainRelease,
    features_of,
    open_engine,
    run,
)
from tiny import random_frames


@pytest.fixture(scope="module")
def engine(golden):
    return open_engine(golden / "tiny-llava-onevision-0")


@pytest.fixture(scope="module")
def trace():
    return json.loads(TRACE.read_text())


def _replay(engine) -> dict:
    engine.clear_cache()
    kept, guidance = [], []
    chunks = np.split(random_frames(NUM_CHUNKS * CHUNK_FRAMES, seed=9), NUM_CHUNKS)
    for index, chunk in enumerate(chunks):
        engine.encode_video_chunk(chunk)
        guidance.append(list(engine.predict_next_question()))
        everything = [list(range(engine.memory.num_visual))] * engine.num_layers
        engine.predict_and_compress()
        rows = engine.last_compression.kept
        kept.append(everything if rows is None else [row.tolist() for row in rows])
        if index in QUESTIONS:
            question = QUESTIONS[index]
            asked = {"question": question, "prompt": engine.get_prompt(question)}
            engine.question_answering(asked, max_new_tokens=NEW_TOKENS)
    history = [[turn.question, turn.answer] for turn in engine.conv_history]
    return {"history": history, "guidance": guidance, "kept": kept}


def test_the_dialogue_replays(engine, trace):
    """Answers, history, guidance texts and the kept tokens of every layer and step, exactly."""
    answers = [answer for _, answer in trace["history"]]
    assert all(answer.startswith(" ") and answer.strip() for answer in answers)
    found = _replay(engine)
    assert found == trace


def test_the_stored_trace_is_what_the_plain_computation_gives(engine, trace):
    plain = PlainRelease(engine.model, engine.processor.tokenizer)
    assert json.loads(json.dumps(run(plain, features_of(engine)))) == trace


def test_stripped_answers_would_keep_other_tokens(engine, trace, monkeypatch):
    """What makes the trace worth storing."""
    clean = type(engine.processor).decode
    monkeypatch.setattr(
        type(engine.processor), "decode", lambda self, ids: clean(self, ids).strip()
    )
    found = _replay(engine)
    assert found["kept"][:3] == trace["kept"][:3]
    assert all(found["kept"][step] != trace["kept"][step] for step in (3, 4, 5))
