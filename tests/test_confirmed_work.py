"""What `confirmed_novelty` adds to a chunk of LLaVA-OneVision-7B, counted on the meta device."""

from __future__ import annotations

import pytest
import torch
from test_live_vlm_work import BYTES_PER_SECOND, FLOPS_PER_SECOND, NUM_NEW, Moved
from torch import Tensor

from efficiency.models.random_model import random_engine
from efficiency.models.shapes import SHAPES
from efficiency.work import StreamWork
from hermes.policy_parts.novelty import nearest_older
from hermes.policy_parts.novelty.all_pairs import stream_novelty
from hermes.policy_parts.novelty.nearest_older import Carried
from hermes.store.blocks import layer_blocks

LAYERS, GROUPS, WIDTH, LENGTH, NEW_FRAMES = 28, 4, 128, 196, NUM_NEW // 196
SINGLE_FLOPS_PER_SECOND = 67e12
"""Of an H200 by its data sheet: products in fp32."""
ORPHANS, LEAVING, GIVEN_UP = 0.08, 9, 7
"""Share of the budget, in the layer that has most of them; frames of the newest in a row, and older
whole ones, that are given up per chunk: as on NanoStream with half as many tokens in a chunk as in
the budget."""


class Work(Moved):
    """And what products multiply."""

    num_flops = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket is torch.ops.aten.bmm:
            self.num_flops += 2 * args[0].numel() * args[1].shape[2]
        return super().__torch_dispatch__(func, types, args, kwargs)


def _empty(*shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def _carried_on(kv_size: int) -> None:
    """What `ConfirmedNovelty` does with each stack, sizes as in the middle of a stream."""
    count, recent = kv_size + NUM_NEW, max(1, kv_size // 4 // LENGTH)
    values = _empty(LAYERS, GROUPS, count, WIDTH, dtype=torch.float16)
    first = count - NEW_FRAMES * LENGTH
    starts = [first + place * NEW_FRAMES // LEAVING * LENGTH for place in range(LEAVING)]
    new = [slice(start, start + LENGTH) for start in starts]
    known = _empty(LAYERS, kv_size), _empty(LAYERS, kv_size)
    carried = Carried(*known, _empty(2, LAYERS, kv_size, dtype=torch.float32))
    found = nearest_older.found_again(carried, _empty(LAYERS, count), has_text=False)
    nearest_older.num_orphans(found, first)
    whole = _empty(LAYERS, count, dtype=torch.bool)
    for layers in layer_blocks(LAYERS, nearest_older.ROWS_AT_A_TIME * count):
        part, unit = found.layers(layers), nearest_older.unit_states(values[layers], values.dtype)
        nearest_older.beside(part, unit, recent + NEW_FRAMES, 1, LENGTH, NEW_FRAMES)
        among = int(ORPHANS * kv_size) + GIVEN_UP * LENGTH, whole[layers, :first]
        nearest_older.compare(part, unit, among, new, has_text=False)
    found.kept(_empty(LAYERS, kv_size), whole)


def _all_pairs(kv_size: int) -> None:
    values = _empty(LAYERS, GROUPS, kv_size // 4 * 3 + NUM_NEW, WIDTH, dtype=torch.float16)
    stream_novelty(values)


def _share(step, kv_size: int, flops_per_second: float) -> float:
    """Of the time that the language model needs at least to read a chunk."""
    engine = random_engine(SHAPES["llava_ov_7b"], "meta", torch.float16, kv_size=kv_size)
    reading = StreamWork(engine).reading(NUM_NEW, kv_size).flops / FLOPS_PER_SECOND
    with Work() as work:
        step(kv_size)
    return (work.num_bytes / BYTES_PER_SECOND + work.num_flops / flops_per_second) / reading


@pytest.mark.parametrize(("kv_size", "most"), [(1000, 0.025), (3000, 0.045), (6000, 0.07)])
def test_carrying_takes_little_of_a_chunk(kv_size, most):
    assert 0.01 < _share(_carried_on, kv_size, FLOPS_PER_SECOND) < most
    assert _share(_all_pairs, kv_size, SINGLE_FLOPS_PER_SECOND) > 4 * most
