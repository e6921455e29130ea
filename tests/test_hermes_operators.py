"""Making room costs as many operators for many layers as for few, and waits hardly ever.

Counted on pretended GPUs, on memories without a model.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pretended_device import Traffic, pretended_devices

from hermes import MemoryConfig, StreamMemory, compress, make_policy
from hermes.policies import POLICIES
from hermes.positions import Placement
from hermes.store.provenance import Provenance
from inference.reindex_1d import Positions1D
from inference.reindex_3d import Positions3D

HEADS, WIDTH, LENGTH, PREFIX, KV_SIZE = 2, 8, 4, 3, 24
RULES = {"1d": Positions1D(), "3d": Positions3D(4.0)}
FREE_OF_QUESTIONS = sorted(
    name
    for name, kind in POLICIES.items()
    if kind.evicts and not kind.works_at_question_time and name != "live_vlm"
)
"""`live_vlm` looks at every layer while it reads, which is not making room."""


def _angles(positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    shape = (positions.shape[-1], WIDTH)
    return torch.ones(shape, device=positions.device), torch.zeros(shape, device=positions.device)


def _filled(num_layers: int, rule: Any) -> StreamMemory:
    devices = [torch.device("cuda:0")] * num_layers
    memory = StreamMemory(
        devices, HEADS, WIDTH, 128, torch.float32, _angles, rule.num_axes, rule.dtype
    )
    _append(memory, rule.text(PREFIX), None)
    memory.close_prefix()
    for first in (0, 4):
        numbers = torch.arange(first, first + 4).repeat_interleave(LENGTH)
        patches = torch.arange(LENGTH).repeat(4)
        grid = rule.text(16) if rule.num_axes == 1 else rule.grid(4, 2, 2)
        _append(memory, grid, Provenance(numbers, numbers.double(), patches))
    return memory


def _append(memory: StreamMemory, placement: Placement, origin: Provenance | None) -> None:
    count = placement.num_tokens
    with memory.append(placement, origin) as angles:
        for layer in range(memory.num_layers):
            generator = torch.Generator().manual_seed(100 * layer + memory.num_tokens)
            states = torch.randn(2, HEADS, count, WIDTH, generator=generator).to("cuda:0")
            memory.write(layer, *states, *angles(layer))


def _make_room(num_layers: int, policy: str, rule: Any, **options: Any) -> Traffic:
    with pretended_devices(1) as traffic:
        config = MemoryConfig(kv_size=KV_SIZE, policy=policy, **options)
        acting = make_policy(config, num_layers)
        attention = torch.rand(num_layers, 32).to("cuda:0")
        for _ in range(2):  # constants travel once
            memory = _filled(num_layers, rule)
            acting.reset()
            traffic.clear()
            done = compress(memory, acting, rule, 10_000, lambda wanted: [attention])
        assert done.kept is not None
    return traffic


@pytest.mark.parametrize("reindex", ["lazy", "eager"])
@pytest.mark.parametrize("axes", RULES)
@pytest.mark.parametrize("policy", FREE_OF_QUESTIONS)
def test_operators_do_not_grow_with_the_layers(policy, axes, reindex):
    if POLICIES[policy].defines.get("reindex", reindex) != reindex:
        pytest.skip(f"{policy} is always {POLICIES[policy].defines['reindex']}")
    few, many = (_make_room(layers, policy, RULES[axes], reindex=reindex) for layers in (10, 30))
    assert few.operators == many.operators
    assert many.num_waits() <= 4 and many.num_copies() <= 8, (many.waits, many.copies)


def test_a_folding_layer_costs_no_operator_of_its_own():
    none, all_of_them = (
        _make_room(20, "hermes", RULES["1d"], long_term_ratio=ratio, sensory_ratio=0.0)
        for ratio in (0.1, 1.0)
    )
    assert sum(none.operators.values()) == sum(all_of_them.operators.values())


def test_buffers_keep_their_address():
    """From the first chunk on, through pruning, folding, renumbering and questions."""
    with pretended_devices(1):
        memory = _filled(4, RULES["1d"])
        stack = memory.stacks[0]
        names = ("keys", "values", "rotated", "positions", "next_position")
        before = [getattr(stack, name).data_ptr() for name in names]
        acting = make_policy(MemoryConfig(kv_size=KV_SIZE, reindex="eager"), 4)
        attention = torch.rand(4, memory.num_visual).to("cuda:0")
        compress(memory, acting, RULES["1d"], 10_000, lambda wanted: [attention])
        with memory.scratch():
            _append(memory, RULES["1d"].text(5), None)
        memory.clear()
        _append(memory, RULES["1d"].text(5), None)
        assert [getattr(stack, name).data_ptr() for name in names] == before
