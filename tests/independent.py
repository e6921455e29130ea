"""An independent implementation to compare with: transformers' own forward, steered from outside.

Nothing here uses our decoder, memory, position rules or formulas. Shapes: l layers, n tokens,
a position axes, e embedding width.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from inference import AbstractHermes


class Forward(NamedTuple):
    """What one full forward of the checkpoint's own text model gives."""

    hidden: Tensor
    """(n, e) normalised."""
    keys: list[Tensor]
    """Per layer (g, n, d), rotated."""
    values: list[Tensor]
    attentions: list[Tensor]
    """Per layer (h, n, n) if asked for."""


def place(family: str, start: float, shape: tuple[int, ...], time_step: float) -> np.ndarray:
    """(a, tokens) positions of a chunk from `start` on, stated as plain loops.

    shape: (tokens,) for text or LLaVA frames, (times, rows, columns) for a Qwen grid.
    """
    if len(shape) == 1:
        axes = 3 if family == "qwen" else 1
        return np.array([[start + i for i in range(shape[0])]] * axes)
    times, rows, columns = shape
    grid = [
        (start + t * time_step, start + y, start + x)
        for t in range(times)
        for y in range(rows)
        for x in range(columns)
    ]
    return np.array(grid).T


def chunk_shape(family: str, num_frames: int) -> tuple[int, ...]:
    """Layout of the visual tokens of 56 x 56 frames."""
    return (4 * num_frames,) if family == "llava" else (-(-num_frames // 2), 2, 2)


def embed_text(engine: AbstractHermes, text: str) -> Tensor:
    """(t, e) embeddings by the checkpoint's own table."""
    ids = engine.processor.tokenizer(text, add_special_tokens=False)["input_ids"]
    return engine.model.get_input_embeddings()(torch.tensor(ids, device=engine.device)).detach()


def embed_frames(engine: AbstractHermes, frames: np.ndarray) -> Tensor:
    """(q, e) visual features; pixels are compared with transformers' in test_inference_frames."""
    features = engine.get_video_features(torch.from_numpy(frames))
    return features[0] if isinstance(features, tuple) else features


def position_ids(engine: AbstractHermes, positions: np.ndarray) -> Tensor:
    """(a, n) -> what the text model's rotary module takes: (1, n) or (3, 1, n)."""
    index = torch.as_tensor(positions, dtype=torch.float32, device=engine.device)
    return index[:, None] if len(positions) == 3 else index


@contextmanager
def _per_layer(
    model: Any, engine: AbstractHermes, positions: np.ndarray, masks: np.ndarray
) -> Iterator[None]:
    """Give every decoder layer its own positions (l, a, n) and its own mask (l, n, n)."""
    with ExitStack() as stack:
        for index, layer in enumerate(model.layers):
            rotary = model.rotary_emb(
                torch.empty(0, dtype=engine.dtype, device=engine.device),
                position_ids(engine, positions[index]),
            )
            hidden = torch.from_numpy(~masks[index]).to(engine.device)
            bias = torch.zeros(hidden.shape, dtype=engine.dtype, device=engine.device)
            bias.masked_fill_(hidden, -torch.inf)

            def steer(
                _module: Any,
                args: tuple[Any, ...],
                kwargs: dict[str, Any],
                rotary: Any = rotary,
                bias: Tensor = bias,
            ) -> tuple[Any, Any]:
                given = {"position_embeddings": rotary, "attention_mask": bias[None, None]}
                return args, {**kwargs, **given}

            hook = layer.register_forward_pre_hook(steer, with_kwargs=True)
            stack.callback(hook.remove)
        yield


@torch.no_grad()
def masked_forward(
    engine: AbstractHermes,
    embeddings: Tensor,
    positions: np.ndarray,
    masks: np.ndarray,
    attentions: bool = False,
    **given: Any,
) -> Forward:
    """One forward over the whole sequence with one 4-D mask and one set of positions per layer.

    Args:
        embeddings: (n, e).
        positions: (l, a, n).
        masks: (l, n, n) bool, True where row may look at column.
        given: more arguments of the text model's forward.
    """
    model, cache = engine.language_model, DynamicCache()
    usual = model.config._attn_implementation
    model.set_attn_implementation("eager" if attentions else "sdpa")
    try:
        with _per_layer(model, engine, positions, masks):
            output = model(
                **{"attention_mask": {"full_attention": None}, **given},
                inputs_embeds=embeddings[None],
                past_key_values=cache,
                use_cache=True,
                output_attentions=attentions,
            )
    finally:
        model.set_attn_implementation(usual)
    maps = [attention[0] for attention in output.attentions] if attentions else []
    layers = cache.layers
    return Forward(
        output.last_hidden_state[0],
        [x.keys[0] for x in layers],
        [x.values[0] for x in layers],
        maps,
    )


@torch.no_grad()
def plain_forward(
    engine: AbstractHermes, embeddings: Tensor, positions: np.ndarray, **given: Any
) -> Forward:
    """transformers' unmodified causal forward with explicit position ids (a, n)."""
    cache = DynamicCache()
    output = engine.language_model(
        inputs_embeds=embeddings[None],
        position_ids=position_ids(engine, positions),
        past_key_values=cache,
        use_cache=True,
        **given,
    )
    layers = cache.layers
    return Forward(
        output.last_hidden_state[0], [x.keys[0] for x in layers], [x.values[0] for x in layers], []
    )
