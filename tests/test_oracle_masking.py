"""Oracle 2: evicting a token = never looking at it again; one mask and one timeline per layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from independent import chunk_shape, embed_frames, embed_text, masked_forward, place
from tiny import TOLERANCE, largest_error, open_stream, random_frames

QUESTION = "\nWho?<|im_end|><|im_start|>assistant\n"
NUM_LAYERS = 10
EQUAL = (1.0, 1.0, 1.0)


class Bookkeeping:
    """Global token numbers per layer, written down with plain lists."""

    def __init__(self, family: str) -> None:
        self.family = family
        self.alive: list[list[int]] = [[] for _ in range(NUM_LAYERS)]
        self.positions: list[list[np.ndarray]] = [[] for _ in range(NUM_LAYERS)]
        self.rows: list[list[list[int]]] = [[] for _ in range(NUM_LAYERS)]
        self.count = 0

    def append(self, shape: tuple[int, ...]) -> None:
        """New tokens follow what is alive; each sees that and its own past."""
        self.append_at(place(self.family, 0, shape, time_step=4))

    def append_at(self, offsets: np.ndarray) -> None:
        """The same for tokens at (a, q) offsets from the next free position."""
        for layer in range(NUM_LAYERS):
            alive, stack = self.alive[layer], self.positions[layer]
            start = max((stack[token].max() + 1 for token in alive), default=0)
            new = start + offsets
            past = list(alive)
            for offset in range(new.shape[1]):
                alive.append(self.count + offset)
                stack.append(new[:, offset])
                self.rows[layer].append([*past, *range(self.count, self.count + offset + 1)])
        self.count += offsets.shape[1]

    def evict(self, layer: int, prefix: int, kept: np.ndarray) -> None:
        """Keep the prefix and the `kept` of the visual tokens."""
        alive = self.alive[layer]
        self.alive[layer] = alive[:prefix] + [alive[prefix + i] for i in kept]

    def masks(self) -> np.ndarray:
        """(l, n, n) bool."""
        masks = np.zeros((NUM_LAYERS, self.count, self.count), dtype=bool)
        for layer, rows in enumerate(self.rows):
            for row, columns in enumerate(rows):
                masks[layer, row, columns] = True
        return masks

    def stacked(self) -> np.ndarray:
        """(l, a, n)."""
        return np.stack([np.stack(stack, axis=1) for stack in self.positions])


def random_run(engine, seed: int):
    """Chunks of random size, each followed by a random eviction to the budget of each layer, which
    differs between layers."""
    generator = np.random.default_rng(seed)
    book, pieces = Bookkeeping(engine.family), [embed_text(engine, engine.init_prompt)]
    engine.encode_init_prompt()
    book.append((len(pieces[0]),))
    prefix = len(pieces[0])
    for step, size in enumerate(generator.choice([2, 4, 6], size=4)):
        frames = random_frames(size, seed=100 * seed + step)
        engine.encode_video_chunk(frames)
        pieces.append(embed_frames(engine, frames))
        book.append(chunk_shape(engine.family, size))
        kept = [random_rows(engine, stack, generator) for stack in engine.memory.stacks]
        engine.memory.keep([torch.from_numpy(rows).to(engine.device) for rows in kept])
        for layer, row in enumerate(row for rows in kept for row in rows):
            book.evict(layer, prefix, row)
    return book, pieces


def random_rows(engine, stack, generator):
    """(l, k) ascending."""
    count = min(14 * engine.policy.budget(stack) // 1000, stack.num_visual)
    draws = [np.sort(generator.permutation(stack.num_visual)[:count]) for _ in stack.layers]
    return np.stack(draws)


@pytest.mark.parametrize(
    ("seed", "weights"),
    [(1, EQUAL), (2, EQUAL), (3, EQUAL), (4, (0.7, 1.0, 1.3)), (5, (2, 1, 0.5))],
)
def test_evicting_is_masking(base, seed, weights):
    engine = open_stream(base, kv_size=1000, budget_weights=weights)
    book, pieces = random_run(engine, seed)
    assert len({tuple(alive) for alive in book.alive}) == NUM_LAYERS, "layers must differ"
    hidden = engine.read_text(QUESTION, output="all")
    pieces.append(embed_text(engine, QUESTION))
    book.append((len(pieces[-1]),))

    expected = masked_forward(engine, torch.cat(pieces), book.stacked(), book.masks())

    assert largest_error(hidden, expected.hidden[-len(hidden) :]) < TOLERANCE
    for layer, (keys, values) in enumerate(engine.kv_cache):
        alive = book.alive[layer]
        assert np.array_equal(
            engine.memory.positions[layer, :, : len(alive)].cpu(), book.stacked()[layer][:, alive]
        )
        assert largest_error(keys[0], expected.keys[layer][:, alive]) < 2 * TOLERANCE
        assert largest_error(values[0], expected.values[layer][:, alive]) < 2 * TOLERANCE


def test_layers_count_for_themselves(base):
    """The runs above are worth little if all layers happened to share one timeline."""
    engine = open_stream(base, kv_size=1000)
    book, _ = random_run(engine, seed=1)
    ends = {
        max(book.positions[layer][token].max() for token in book.alive[layer])
        for layer in range(NUM_LAYERS)
    }
    assert len(ends) > 1
