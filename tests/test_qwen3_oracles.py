"""Qwen3-VL, oracles 2 to 4, 6 and 7 (the first is in test_qwen3_forward, traces of our own in
test_qwen3_golden): transformers' own model, steered from outside, on what real policies keep."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import test_oracle_half
import test_oracle_reindex
import torch
from independent import masked_forward, plain_forward, position_ids
from qwen3_reference import FPS, QUESTION, chunk_piece, frames_of, joined, text_piece
from test_oracle_guidance import WANTED
from test_oracle_masking import NUM_LAYERS, Bookkeeping
from tiny import TOLERANCE, largest_error, open_stream
from transformers import DynamicCache

from inference.answers.prompts import guidance_texts

KV_SIZE = 120
"""Less than four stamped temporal patches of 24 + 7 tokens."""
CHUNKS = (4, 6, 6, 2, 8)


class Watched:
    """A stream that evicts, and the list of what each layer still has, kept with plain lists."""

    def __init__(self, base, **named) -> None:
        self.engine = open_stream(
            base, **{"kv_size": KV_SIZE, "sample_fps": FPS, "summary": "none", **named}
        )
        self.book, self.pieces = Bookkeeping("qwen3"), []
        self.engine.encode_init_prompt()
        self._append(text_piece(self.engine, self.engine.init_prompt))
        self.prefix = self.engine.memory.num_prefix
        self.steps, self.num_evicted = 0, 0

    def watch(self, size: int) -> None:
        """A chunk and its compression; positions before it, (l, a, n), are in `before`."""
        engine, first = self.engine, self.engine.total_processed_frames
        frames = frames_of(size, seed=self.steps)
        engine.encode_video_chunk(frames)
        self._append(chunk_piece(engine, frames, first))
        is_picture = torch.cat([piece.is_picture for piece in self.pieces]).tolist()
        for layer, alive in enumerate(self.book.alive):
            visual = sorted(alive[self.prefix :], key=lambda token: (is_picture[token], token))
            self.book.alive[layer] = alive[: self.prefix] + visual
        used = engine.memory.num_tokens
        self.before = engine.memory.positions[..., :used].cpu().numpy().copy()
        engine.predict_and_compress()
        self.kept = engine.last_compression.kept
        if self.kept is not None:
            self.num_evicted += used - engine.memory.num_tokens
            for layer, rows in enumerate(self.kept):
                self.book.evict(layer, self.prefix, rows.cpu().numpy())
        self.steps += 1

    def ask(self) -> torch.Tensor:
        """Hidden states of the end of the video and a question."""
        text = self.engine.closing_prompt + QUESTION
        self._append(text_piece(self.engine, text))
        return self.engine.read_text(text, output="all")

    def forward(self, **options):
        """transformers' forward of everything, masked and placed per layer."""
        embeddings, given = joined(self.pieces)
        book = self.book
        given["attention_mask"] = embeddings.new_zeros(1, 1, book.count, book.count)  # replaced
        return masked_forward(
            self.engine, embeddings, book.stacked(), book.masks(), **options, **given
        )

    def _append(self, piece) -> None:
        self.pieces.append(piece)
        self.book.append_at(piece.offsets)


@pytest.mark.parametrize("policy", ["hermes", "random", "two_speed"])
@torch.no_grad()
def test_evicting_is_masking(load, policy):
    """Every layer keeps other tokens, stamps among them, and looks at no others."""
    seen = Watched(load("qwen3"), policy=policy)
    for size in CHUNKS:
        seen.watch(size)
    assert seen.num_evicted > 2 * KV_SIZE
    if policy != "two_speed":
        assert len({tuple(alive) for alive in seen.book.alive}) == NUM_LAYERS
    hidden = seen.ask()
    expected = seen.forward()
    assert largest_error(hidden, expected.hidden[-len(hidden) :]) < TOLERANCE
    for layer, (keys, values) in enumerate(seen.engine.kv_cache):
        alive = seen.book.alive[layer]
        ours = seen.engine.memory.positions[layer, :, : len(alive)].cpu()
        assert np.array_equal(ours, seen.book.stacked()[layer][:, alive])
        assert largest_error(keys[0], expected.keys[layer][:, alive]) < 2 * TOLERANCE
        assert largest_error(values[0], expected.values[layer][:, alive]) < 2 * TOLERANCE


def _ranked(positions: np.ndarray, prefix: int) -> np.ndarray:
    visual = [prefix + np.unique(axis[prefix:], return_inverse=True)[1] for axis in positions]
    return np.concatenate((positions[:, :prefix], np.stack(visual)), axis=1)


@pytest.mark.parametrize("reindex", ["lazy", "eager"])
@torch.no_grad()
def test_layer_0_keys_are_those_of_a_fresh_prefill_of_what_was_kept(load, reindex):
    limit = {"lazy": 320, "eager": None}[reindex]
    seen = Watched(load("qwen3"), policy="random", reindex=reindex, position_limit=limit)
    renumbered = 0
    for size in (4, *([6] * (13 if limit else 5))):
        seen.watch(size)
        engine, prefix = seen.engine, seen.prefix
        engine.memory.check_integrity(engine.max_positions)
        if not engine.last_compression.renumbered:
            continue
        renumbered += 1
        rows = np.arange(seen.before.shape[2] - prefix) if seen.kept is None else seen.kept[0].cpu()
        slots = np.concatenate((np.arange(prefix), prefix + np.asarray(rows)))
        expected = _ranked(seen.before[0][:, slots], prefix)
        after = engine.memory.positions[0, :, : engine.memory.num_tokens].cpu().numpy()
        assert np.array_equal(after, expected)
        embeddings, _ = joined(seen.pieces)
        fresh = plain_forward(engine, embeddings[seen.book.alive[0]], expected)
        assert largest_error(engine.kv_cache[0][0][0], fresh.keys[0]) < TOLERANCE
        assert largest_error(engine.kv_cache[0][1][0], fresh.values[0]) < TOLERANCE
        # what follows stands behind what was renumbered
        for layer, alive in enumerate(seen.book.alive):
            now = engine.memory.positions[layer, :, : len(alive)].cpu().numpy()
            for token, place in zip(alive, now.T, strict=True):
                seen.book.positions[layer][token] = place
    assert renumbered >= 2, "the run must renumber for this test to mean anything"


@pytest.mark.parametrize("name", ["local", "mixed", "global"])
@torch.no_grad()
def test_exact_probe_is_the_eager_models_attention(load, name):
    seen = Watched(load("qwen3"), policy="hermes", probe="exact")
    for size in CHUNKS[:3]:
        seen.watch(size)
    (ours,) = seen.engine.guidance_attention(WANTED)
    alive = [tokens[seen.prefix :] for tokens in seen.book.alive]
    text = text_piece(seen.engine, guidance_texts()[name])
    seen._append(text)
    maps = seen.forward(attentions=True).attentions
    for layer, wanted in WANTED.items():
        if wanted == name:
            rows = maps[layer][:, -len(text.embeddings) :][:, :, alive[layer]]
            assert largest_error(ours[layer], rows.double().mean(dim=(0, 1))) < 1e-6


@pytest.mark.parametrize("kv_dtype", ["model", "int8"])
def test_ten_thousand_renumberings_equal_one(load, kv_dtype):
    """Whole numbers on three axes, interleaved in the rotation."""
    test_oracle_reindex.test_ten_thousand_renumberings_equal_one(load("qwen3"), kv_dtype)


def test_half_precision_rotates_by_float32_angles(load):
    engines = [load("qwen3", dtype) for dtype in ("float32", "float16")]
    positions = torch.tensor([[1, 999, 25_000]] * 3).to(engines[0].device)
    tables = [engine.decoder.angles(positions) for engine in engines]
    for exact, half in zip(*tables, strict=True):
        assert exact.dtype == half.dtype == torch.float32 and torch.equal(exact, half)


class NaiveRun:
    """transformers' own forward on a cache of rotated keys; what is kept is rotated again."""

    def __init__(self, engine) -> None:
        self.engine, self.cache = engine, DynamicCache()
        self.positions, self.is_picture = np.zeros((3, 0)), np.zeros(0, bool)

    def read(self, piece):
        """Append; returns the normalised hidden states."""
        start = self.positions.max() + 1 if self.positions.size else 0
        new = start + piece.offsets
        self.positions = np.concatenate((self.positions, new), axis=1)
        self.is_picture = np.concatenate((self.is_picture, piece.is_picture.numpy()))
        embeddings, given = joined([piece])
        return self.engine.language_model(
            inputs_embeds=embeddings[None],
            position_ids=position_ids(self.engine, new),
            past_key_values=self.cache,
            **(given if piece.depths else {}),
        ).last_hidden_state[0]

    def keep(self, prefix: int, kept: np.ndarray) -> None:
        """Text first, then these rows of what is visual, renumbered and rotated by the rest."""
        visual = prefix + np.argsort(self.is_picture[prefix:], kind="stable")
        rows = np.concatenate((np.arange(prefix), visual[kept]))
        old = self.positions[:, rows]
        self.positions, self.is_picture = _ranked(old, prefix), self.is_picture[rows]
        for layer in self.cache.layers:
            layer.keys, layer.values = layer.keys[:, :, rows], layer.values[:, :, rows]
            turned = position_ids(self.engine, self.positions - old)
            cos, sin = self.engine.language_model.rotary_emb(layer.keys, turned)
            layer.keys = test_oracle_half._half_rotated(layer.keys, cos, sin)


@torch.no_grad()
def _naive(engine, kept):
    run, first = NaiveRun(engine), 0
    prefix = text_piece(engine, engine.init_prompt)
    run.read(prefix)
    for step, (size, rows) in enumerate(zip(CHUNKS, kept, strict=True)):
        run.read(chunk_piece(engine, frames_of(size, seed=step), first))
        first += size
        if rows is not None:
            run.keep(len(prefix.embeddings), rows[0].cpu().numpy())
    return run.read(text_piece(engine, engine.closing_prompt + QUESTION)).double().cpu()


@torch.no_grad()
def _ours(base):
    engine = open_stream(base, kv_size=KV_SIZE, sample_fps=FPS, policy="recent", reindex="eager")
    kept = []
    for step, size in enumerate(CHUNKS):
        engine.encode_video_chunk(frames_of(size, seed=step))
        engine.predict_and_compress()
        kept.append(engine.last_compression.kept)
    hidden = engine.read_text(engine.closing_prompt + QUESTION, output="all")
    return hidden.double().cpu(), kept


def test_a_whole_run_equals_the_naive_one(load):
    ours, kept = _ours(load("qwen3"))
    assert sum(rows is not None for rows in kept) >= 3
    assert largest_error(ours, _naive(load("qwen3"), kept)) < 1e-4


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_costs_at_most_twice_the_naive_formula(load, dtype):
    _, kept = _ours(load("qwen3"))
    exact = _naive(load("qwen3"), kept)
    half = load("qwen3", dtype)
    ours, naive = _ours(half)[0], _naive(half, kept)
    assert (ours - exact).abs().mean() <= 2 * (naive - exact).abs().mean()
    assert (ours - exact).abs().max() <= 2 * (naive - exact).abs().max()


def test_nothing_of_the_added_features_remains(load):
    """They belong to the chunk: when it is read, nobody holds them any more."""
    engine = open_stream(load("qwen3"), kv_size=KV_SIZE, sample_fps=FPS)
    see, seen = engine.see, []

    def watched(frames):
        chunk = see(frames)
        seen.extend(weakref.ref(features) for features in (*chunk.added, chunk.features))
        return chunk

    engine.see = watched
    for step in range(3):
        engine.encode_video_chunk(frames_of(6, seed=step))
        engine.predict_and_compress()
        gc.collect()
        assert len(seen) == 3 * (step + 1) and not any(ref() is not None for ref in seen)
