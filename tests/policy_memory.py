"""A stream memory filled by hand, without a model, and a policy on it.

Shapes: l layers, f frames, t tokens per frame, g key heads, d head width, a position axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hermes import MemoryConfig, StreamMemory, make_policy
from hermes.policies import Policy
from hermes.positions import Placement
from hermes.store.provenance import Provenance
from inference.reindex_1d import Positions1D

NUM_LAYERS, HEADS, WIDTH, PREFIX = 4, 2, 8, 3
RULE = Positions1D()


def identity_angles(positions: Tensor) -> tuple[Tensor, Tensor]:
    """No rotation: what is compared then are the states themselves."""
    shape = (positions.shape[-1], WIDTH)
    return torch.ones(shape), torch.zeros(shape)


def empty_memory(capacity: int = 512) -> StreamMemory:
    """Four layers with a prefix of three tokens."""
    devices = [torch.device("cpu")] * NUM_LAYERS
    memory = StreamMemory(devices, HEADS, WIDTH, capacity, torch.float32, identity_angles)
    states = torch.zeros(NUM_LAYERS, HEADS, PREFIX, WIDTH)
    _append(memory, states, states, None)
    memory.close_prefix()
    return memory


def add_frames(
    memory: StreamMemory,
    keys: Tensor,
    values: Tensor,
    first: int = 0,
    seconds: Sequence[float] | None = None,
) -> None:
    """Append frames: keys, values (l, f, t, g, d); one second per frame, or at these times."""
    _, frames, length = keys.shape[:3]
    numbers = torch.arange(first, first + frames).repeat_interleave(length)
    side = round(length**0.5)
    size = (side, side) if side * side == length else (1, length)
    times = (
        torch.arange(first, first + frames) if seconds is None else torch.tensor(seconds[:frames])
    )
    times = times.double().repeat_interleave(length)
    origin = Provenance(numbers, times, torch.arange(length).repeat(frames), size)
    flat = (states.flatten(1, 2).transpose(1, 2) for states in (keys, values))
    _append(memory, *flat, origin)


def random_states(frames: int, length: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Keys and values (l, f, t, g, d)."""
    generator = torch.Generator().manual_seed(seed)
    shape = (2, NUM_LAYERS, frames, length, HEADS, WIDTH)
    keys, values = torch.randn(shape, generator=generator)
    return keys, values


def policy_of(name: str, kv_size: int, **options: Any) -> Policy:
    """A policy for the four layers."""
    config = MemoryConfig(kv_size=kv_size, policy=name, policy_options=options)
    return make_policy(config, NUM_LAYERS)


def random_attention(num_visual: int, seed: int = 0) -> Tensor:
    """(l, n) one distribution per layer."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(NUM_LAYERS, num_visual, generator=generator).softmax(-1)


def chosen(policy: Policy, memory: StreamMemory, attention: Tensor | None = None) -> Tensor:
    """(l, k) rows that a policy keeps; all layers lie in one stack."""
    return policy.choose(memory, [attention])[0]


def compress_by(policy: Policy, memory: StreamMemory, seed: int = 0) -> Tensor:
    """Choose, announce and evict as the engine does, with random attention; (l, k) kept rows."""
    attention = random_attention(memory.num_visual, seed)
    kept = chosen(policy, memory, attention)
    policy.evicting(memory, [attention], [kept])
    memory.keep([kept])
    return kept


def _append(memory: StreamMemory, keys: Tensor, values: Tensor, origin: Provenance | None) -> None:
    count = keys.shape[2]
    with memory.append(Placement(torch.arange(count).view(1, -1), count), origin) as angles:
        for layer in range(NUM_LAYERS):
            memory.write(layer, keys[layer], values[layer], *angles(layer))
