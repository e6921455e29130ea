"""Oracle 1: a budget larger than the stream gives the model's own forward on everything."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from independent import chunk_shape, embed_frames, embed_text, place, plain_forward
from tiny import TOLERANCE, largest_error, open_stream, random_frames

QUESTION = "\nWhat moved?<|im_end|><|im_start|>assistant\n"
CHUNKS = {"one chunk": [12], "even": [4, 4, 4], "uneven": [2, 6, 4], "pairs": [2] * 6}


def _whole_input(engine, frames, chunks, time_step):
    """Embeddings (n, e) and positions (a, n) of prefix, chunks and question, stated by hand."""
    pieces = [embed_text(engine, engine.init_prompt)]
    positions = [place(engine.family, 0, (len(pieces[0]),), time_step)]
    start = 0
    for size in chunks:
        pieces.append(embed_frames(engine, frames[start : start + size]))
        shape = chunk_shape(engine.family, size)
        positions.append(place(engine.family, positions[-1].max() + 1, shape, time_step))
        start += size
    pieces.append(embed_text(engine, QUESTION))
    positions.append(place(engine.family, positions[-1].max() + 1, (len(pieces[-1]),), time_step))
    return torch.cat(pieces), np.concatenate(positions, axis=1)


@pytest.mark.parametrize(
    ("chunks", "policy", "sample_fps"),
    [*((CHUNKS[name], "hermes", 1) for name in CHUNKS), (CHUNKS["uneven"], "none", 0.5)],
    ids=[*CHUNKS, "policy none, 0.5 fps"],
)
@torch.no_grad()
def test_equals_the_models_own_forward(base, chunks, policy, sample_fps):
    engine = open_stream(base, kv_size=1000, policy=policy, sample_fps=sample_fps)
    frames = random_frames(sum(chunks))
    start = 0
    for size in chunks:
        engine.encode_video_chunk(frames[start : start + size])
        engine.predict_and_compress()
        start += size
    hidden = engine.read_text(QUESTION, output="all")

    embeddings, positions = _whole_input(engine, frames, chunks, time_step=2 / sample_fps * 2)
    expected = plain_forward(engine, embeddings, positions)

    head = engine.model.lm_head
    asked = slice(-len(hidden), None)
    assert largest_error(hidden, expected.hidden[asked]) < TOLERANCE
    assert largest_error(head(hidden), head(expected.hidden[asked])) < TOLERANCE
    assert np.array_equal(engine.memory.positions[3, :, : len(embeddings)].cpu(), positions)
    for layer, (keys, values) in enumerate(engine.kv_cache):
        assert largest_error(keys[0], expected.keys[layer]) < 2 * TOLERANCE
        assert largest_error(values[0], expected.values[layer]) < 2 * TOLERANCE


def test_the_answer_is_the_models_own_greedy_answer(base):
    """Decoding token by token over the memory = full forwards over ever longer inputs."""
    engine = open_stream(base, kv_size=1000)
    frames = random_frames(8, seed=3)
    engine.encode_video_chunk(frames)
    engine.predict_and_compress()
    asked = {"question": "", "prompt": QUESTION}
    answer = engine.question_answering(asked, max_new_tokens=6, repetition_penalty=1)

    embeddings, positions = _whole_input(engine, frames, [8], time_step=4)
    table, head, ids = engine.model.get_input_embeddings(), engine.model.lm_head, []
    for _ in range(6):
        hidden = plain_forward(engine, embeddings, positions).hidden[-1]
        ids.append(int(head(hidden).argmax()))
        following = torch.tensor(ids[-1:], device=engine.device)
        embeddings = torch.cat((embeddings, table(following).detach()))
        next_position = np.full((len(positions), 1), positions.max() + 1)
        positions = np.concatenate((positions, next_position), axis=1)
    assert engine.processor.tokenizer.eos_token_id not in ids
    assert answer == engine.processor.tokenizer.decode(ids, skip_special_tokens=True).strip()
