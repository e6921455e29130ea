"""What `live_vlm` adds to a chunk at the size of LLaVA-OneVision-7B, counted on the meta device."""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from efficiency.models.random_model import random_engine
from efficiency.models.shapes import SHAPES
from efficiency.operators import FREE
from efficiency.work import StreamWork
from hermes.policies.live_vlm import LiveVlmOptions
from hermes.policy_parts.received_attention import received_attention

NUM_NEW, NUM_BEFORE = 16 * 196, 6000
FLOPS_PER_SECOND, BYTES_PER_SECOND = 989e12, 4.8e12
"""Of an H200 by its data sheet: dense products in 16 bit, memory."""


class Moved(TorchDispatchMode):
    """Bytes that operators read and write."""

    num_bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if not (func.is_view or func.overloadpacket in FREE):
            tensors = {id(t): t for t in tree_leaves((args, kwargs, result)) if hasattr(t, "numel")}
            self.num_bytes += sum(t.numel() * t.element_size() for t in tensors.values())
        return result


def _share(max_queries: int) -> float:
    """Of the time that a chunk needs at least."""
    shape = SHAPES["llava_ov_7b"]
    engine = random_engine(shape, "meta", torch.float16, kv_size=NUM_BEFORE, policy="live_vlm")
    work = StreamWork(engine)
    like = {"dtype": torch.float16, "device": "meta"}
    queries = torch.empty(work.heads, NUM_NEW, work.width, **like)
    keys = torch.empty(work.groups, NUM_BEFORE + NUM_NEW, work.width, **like)
    with Moved() as moved:
        received_attention(queries, keys, 0.1, max_queries)
    products = 2 * work.heads * work.width * max_queries * keys.shape[1]
    seconds = moved.num_bytes / BYTES_PER_SECOND + products / FLOPS_PER_SECOND
    chunk = work.reading(NUM_NEW, NUM_BEFORE).flops / FLOPS_PER_SECOND
    return work.num_layers * seconds / chunk


def test_looking_takes_little_of_a_chunk():
    """The maps in fp32 are what it moves; 256 queries were too many."""
    assert _share(LiveVlmOptions().max_queries) < 0.05
    assert _share(256) > 0.1
