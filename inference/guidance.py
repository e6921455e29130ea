"""Attention of the guidance questions to the visual tokens in memory (paper section 3.3).

Shapes: l layers of a stack, t text tokens, n visual tokens, e embedding width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate, groupby

import torch
from torch import Tensor

from hermes.memory import StreamMemory
from hermes.policy_parts.guidance import Guidance
from hermes.positions import PositionRule
from hermes.rotation import rotate
from hermes.scores.attention import attend, later_ones
from hermes.store.layer_stack import LayerStack
from inference.decoder import StreamDecoder
from inference.packed_texts import PackedTexts

Texts = Mapping[Guidance, Tensor]
"""(t, e) embeddings of each text."""
Wanted = Mapping[int, Guidance]
"""Layer -> the text whose attention it needs."""
Probe = Callable[[StreamDecoder, StreamMemory, PositionRule, Texts, Wanted], list[Tensor | None]]
"""Per stack (l, n) fp32 attention, zero in layers that want none; None where none of them does.
The memory is as before when a probe returns."""


@torch.no_grad()
def embedding_probe(
    decoder: StreamDecoder, memory: StreamMemory, rule: PositionRule, texts: Texts, wanted: Wanted
) -> list[Tensor | None]:
    """The released scorer: raw text embeddings at every layer, no causal mask among them.

    The texts' keys are not written to the memory. Beside the projections, operators are counted
    per block of neighbouring layers that want the same text.
    """
    memory.refresh()
    return [_embedding_attention(decoder, stack, rule, texts, wanted) for stack in memory.stacks]


def _embedding_attention(
    decoder: StreamDecoder, stack: LayerStack, rule: PositionRule, texts: Texts, wanted: Wanted
) -> Tensor | None:
    runs = list(_runs(stack, wanted))
    if not runs:
        return None
    longest = max(len(texts[name]) for name, _ in runs)
    offsets = rule.text(longest, stack.device).offsets
    cos, sin = stack.following_angles(decoder.angles, offsets)
    attention = _nothing(stack)
    for name, layers in runs:
        hidden = texts[name].to(stack.device)
        queries, own = _projected(decoder, stack, layers, hidden, cos, sin)
        count = layers.stop - layers.start
        keys = stack.rotated.narrow(0, layers.start, count).narrow(2, 0, stack.num_tokens)
        scaling = decoder.scaling(stack.layers[layers][0])
        attend(queries, keys, own, scaling, stack.visual, attention[layers])
    return attention


def _projected(
    decoder: StreamDecoder,
    stack: LayerStack,
    layers: slice,
    hidden: Tensor,
    cos: Tensor,
    sin: Tensor,
) -> tuple[Tensor, Tensor]:
    """Rotated queries (l, h, t, d) in fp32 and keys (l, g, t, d) of one text in all layers."""
    numbers, dtype = stack.layers[layers], hidden.dtype
    pairs = [decoder.project(layer, hidden)[:2] for layer in numbers]
    states = torch.cat([part for pair in pairs for part in pair]).float()
    heads, (_, count, width) = len(pairs[0][0]), states.shape
    states = states.view(len(numbers), -1, count, width)
    states = rotate(states, cos[layers, None, :count], sin[layers, None, :count])
    return states[:, :heads].contiguous(), states[:, heads:].to(dtype).contiguous()


def _runs(stack: LayerStack, wanted: Wanted) -> Iterator[tuple[Guidance, slice]]:
    """Neighbouring layers that want the same text, by their index in the stack."""
    first = 0
    for name, run in groupby(stack.layers, wanted.get):
        count = len(list(run))
        if name is not None:
            yield name, slice(first, first + count)
        first += count


def _nothing(stack: LayerStack) -> Tensor:
    return torch.zeros(len(stack), stack.num_visual, device=stack.device)


@torch.no_grad()
def exact_probe(
    decoder: StreamDecoder, memory: StreamMemory, rule: PositionRule, texts: Texts, wanted: Wanted
) -> list[Tensor | None]:
    """A true causal forward of the texts, each up to the deepest layer that wants it; several in
    one pass."""
    if not wanted:
        return [None] * len(memory.stacks)
    depths = {name: 1 + max(_layers_of(name, wanted)) for name in set(wanted.values())}
    names = sorted(depths, key=lambda name: (-depths[name], name))
    lengths = [len(texts[name]) for name in names]
    starts = dict(zip(names, accumulate(lengths, initial=0), strict=False))
    attention = [_nothing(stack) if _wants(stack, wanted) else None for stack in memory.stacks]
    numbers = {stack.layers.start: number for number, stack in enumerate(memory.stacks)}

    def observe(layer: int, queries: Tensor, keys: Tensor, scaling: float) -> None:
        if layer not in wanted:
            return
        stack, index = memory.place_of(layer)
        rows = slice(starts[wanted[layer]], starts[wanted[layer]] + len(texts[wanted[layer]]))
        asking = queries[None, :, rows]
        old, own = keys[None, :, : stack.num_tokens], keys[None, :, stack.num_tokens :][:, :, rows]
        into = attention[numbers[stack.layers.start]]
        assert into is not None
        hidden = later_ones(asking.shape[2], stack.device)
        attend(asking, old, own, scaling, stack.visual, into[index : index + 1], hidden)

    packed = PackedTexts(lengths, [depths[name] for name in names])
    with memory.scratch():
        decoder.forward(
            memory,
            torch.cat([texts[name] for name in names]),
            packed.placement(rule, memory.device),
            output="none",
            observer=observe,
            depth=depths[names[0]],
            packed=packed if len(names) > 1 else None,
        )
    return attention


def _layers_of(name: Guidance, wanted: Wanted) -> list[int]:
    return [layer for layer, text in wanted.items() if text == name]


def _wants(stack: LayerStack, wanted: Wanted) -> bool:
    return any(layer in wanted for layer in stack.layers)


PROBES: dict[str, Probe] = {"embedding": embedding_probe, "exact": exact_probe}
