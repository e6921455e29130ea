"""Oracle 4: exact guidance attention = attentions of transformers' eager model, averaged.

The released probe (raw embeddings, no causal mask) is compared with loops in float64.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from independent import embed_text, masked_forward
from test_oracle_masking import Bookkeeping, random_run
from tiny import assert_same, contents, largest_error, open_stream, random_frames, watch

from inference.answers.prompts import guidance_texts

WANTED = {0: "local", 2: "mixed", 5: "mixed", 8: "global", 9: "global"}


def _eager_attention(engine, book: Bookkeeping, pieces, name: str) -> dict[int, torch.Tensor]:
    """Per layer what the text pays to the visual tokens that are alive."""
    text = embed_text(engine, guidance_texts()[name])
    prefix = engine.memory.num_prefix
    alive = [list(tokens[prefix:]) for tokens in book.alive]
    book.append((len(text),))
    whole = torch.cat([*pieces, text])
    maps = masked_forward(engine, whole, book.stacked(), book.masks(), attentions=True).attentions
    return {
        layer: maps[layer][:, -len(text) :][:, :, alive[layer]].double().mean(dim=(0, 1))
        for layer, wanted in WANTED.items()
        if wanted == name
    }


@pytest.mark.parametrize("name", ["local", "mixed", "global"])
@torch.no_grad()
def test_exact_probe_is_the_eager_models_attention(base, name):
    engine = open_stream(base, kv_size=1000, probe="exact")
    book, pieces = random_run(engine, seed=4)
    before = contents(engine)
    (ours,) = engine.guidance_attention(WANTED)
    assert_same(before, contents(engine))
    for layer, expected in _eager_attention(engine, book, pieces, name).items():
        assert largest_error(ours[layer], expected) < 1e-6
        relative = (ours[layer].double().cpu() - expected.cpu()).abs() / expected.cpu()
        assert relative.median() < 1e-4
    assert ours.any(dim=1).nonzero().flatten().tolist() == list(WANTED)


@torch.no_grad()
def test_embedding_probe_is_the_released_formula(base):
    """q and k of the normed raw embeddings, rotated at the next positions, softmax over all keys
    without a causal mask, mean over heads and text tokens."""
    engine = open_stream(base, kv_size=24)
    watch(engine, random_frames(16, seed=2))
    before = contents(engine)
    (ours,) = engine.guidance_attention(WANTED)
    assert_same(before, contents(engine))
    for layer, name in WANTED.items():
        expected = _released_scores(engine, layer, guidance_texts()[name])
        assert largest_error(ours[layer], expected) < 1e-6


def _released_scores(engine, layer: int, text: str) -> torch.Tensor:
    memory, module = engine.memory, engine.language_model.layers[layer]
    embeddings = embed_text(engine, text)
    normed = module.input_layernorm(embeddings)
    attention, width = module.self_attn, module.self_attn.head_dim
    used = memory.positions[layer, :, : memory.num_tokens]
    start = float(used.max()) + 1
    index = start + torch.arange(len(embeddings), device=engine.device, dtype=torch.float32)
    index = index.expand(3, 1, -1) if engine.family == "qwen" else index[None]
    cos, sin = engine.language_model.rotary_emb(torch.empty(0, device=engine.device), index)
    cos, sin = cos[0].double(), sin[0].double()

    def heads(projection) -> torch.Tensor:
        states = projection(normed).view(len(embeddings), -1, width).transpose(0, 1).double()
        half = torch.cat((-states[..., width // 2 :], states[..., : width // 2]), -1)
        return states * cos + half * sin

    queries, own = heads(attention.q_proj), heads(attention.k_proj)
    keys = torch.cat((engine.kv_cache[layer][0][0].double(), own), dim=1)
    total = torch.zeros(keys.shape[1], dtype=torch.float64, device=keys.device)
    group = len(queries) // len(keys)
    for head, rows in enumerate(queries):
        for row in rows:
            total += ((keys[head // group] @ row) / np.sqrt(width)).softmax(0)
    mean = total / (len(queries) * len(embeddings))
    return mean[memory.num_prefix : memory.num_tokens]


@torch.no_grad()
def test_the_last_turn_steers_the_guidance_unless_switched_off(base):
    attention = {}
    for use_history in (True, False):
        engine = open_stream(base, kv_size=24, use_history=use_history)
        watch(engine, random_frames(8))
        silent = engine.guidance_attention({9: "global"})[0]
        engine.add_history("Where is it?", "on the table")
        attention[use_history] = torch.equal(silent, engine.guidance_attention({9: "global"})[0])
    assert attention == {True: False, False: True}
