"""The decoder's forward over packed questions, through the sub-modules of the real model.

A pack is `[prefix, visual tokens, region of questions]`. The visual part is plainly causal; a token
of the region sees what lies before its question's time stamp and its own question up to itself.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F

from nano_training.contents import NOTHING

IGNORE = -100
HINT_LAYERS = 6  # so many layers must do to know the answer; the rest find its letter


@dataclass
class Batch:
    """Packs of one length: `stream` visual and prefix tokens, then `region` question tokens.

    `degree` numbers the degree of each stream.
    `visible` counts the stream tokens a region token sees; `segment` numbers its question.
    `region` fields are long `(batch, region)`; `targets` holds the next token or `IGNORE`;
    `hints` holds the answer word where a question ends and its options begin, or `IGNORE`;
    `target_at` and `hint_at` are the flat places of those that are not `IGNORE`, so that no device
    has to be asked for them.
    `sets` is float `(naming tokens, 64)`: what the aux head should name there;
    `set_rows` and `set_columns` say where these tokens are.
    """

    prefix_ids: torch.Tensor
    degree: torch.Tensor  # (batch,)
    contents: torch.Tensor  # (batch, frames, 4)
    region_ids: torch.Tensor
    visible: torch.Tensor
    segment: torch.Tensor
    offset: torch.Tensor
    targets: torch.Tensor
    hints: torch.Tensor
    target_at: torch.Tensor
    hint_at: torch.Tensor
    task: torch.Tensor
    set_rows: torch.Tensor
    set_columns: torch.Tensor
    sets: torch.Tensor

    def to(self, device: str) -> "Batch":
        return Batch(**{n: x.to(device, non_blocking=True) for n, x in vars(self).items()})


class Losses(NamedTuple):
    """Each a scalar."""

    words: torch.Tensor
    hints: torch.Tensor
    sets: torch.Tensor


def _rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    half = x.shape[-1] // 2
    return x * cos + torch.cat((-x[..., half:], x[..., :half]), -1) * sin


def _norm(x: torch.Tensor, norm) -> torch.Tensor:
    return F.rms_norm(x, (x.shape[-1],), norm.weight, norm.variance_epsilon)


def _attend(attention, x, cos, sin, bias: torch.Tensor, num_stream: int) -> torch.Tensor:
    """Two calls instead of one dense mask: the stream never looks at the region."""
    size = attention.head_dim
    q, k, v = (
        proj(x).view(*x.shape[:2], -1, size).transpose(1, 2)
        for proj in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    q, k = _rotate(q, cos, sin), _rotate(k, cos, sin)
    groups = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    q_stream, k_stream, v_stream = (part[:, :, :num_stream] for part in (q, k, v))
    stream = F.scaled_dot_product_attention(q_stream, k_stream, v_stream, is_causal=True)
    region = F.scaled_dot_product_attention(q[:, :, num_stream:], k, v, attn_mask=bias)
    mixed = torch.cat((stream, region), 2).transpose(1, 2).flatten(2)
    return attention.o_proj(mixed)


def region_bias(batch: Batch, num_stream: int, dtype: torch.dtype) -> torch.Tensor:
    """Additive mask `(batch, 1, region, stream + region)`."""
    order = torch.arange(batch.segment.shape[1], device=batch.segment.device)
    column = torch.arange(num_stream, device=batch.segment.device)
    sees_stream = column < batch.visible[..., None]
    same = batch.segment[:, :, None] == batch.segment[:, None, :]
    allowed = torch.cat((sees_stream, same & (order[:, None] >= order)), 2)
    bias = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
    return bias.masked_fill_(~allowed, -1e9)[:, None]


def hidden_states(
    language_model, visual: torch.Tensor, batch: Batch
) -> tuple[torch.Tensor, torch.Tensor]:
    """Normed hidden states of the region after all layers and after `HINT_LAYERS`.

    Each is `(batch, region, width)`.
    """
    embed = language_model.embed_tokens
    prefix = embed(batch.prefix_ids).expand(len(visual), -1, -1)
    x = torch.cat((prefix, visual, embed(batch.region_ids)), 1)
    num_stream = prefix.shape[1] + visual.shape[1]
    stream = torch.arange(num_stream, device=x.device).expand(len(x), -1)
    positions = torch.cat((stream, batch.visible + batch.offset), 1)
    cos, sin = (part[:, None] for part in language_model.rotary_emb(x, positions))
    bias = region_bias(batch, num_stream, x.dtype)
    for number, layer in enumerate(language_model.layers):
        h = _norm(x, layer.input_layernorm)
        x = x + _attend(layer.self_attn, h, cos, sin, bias, num_stream)
        x = x + layer.mlp(_norm(x, layer.post_attention_layernorm))
        if number + 1 == HINT_LAYERS:
            early = x[:, num_stream:]
    norm = language_model.norm
    return _norm(x[:, num_stream:], norm), _norm(early, norm)


def losses(model, set_head, hidden: torch.Tensor, early: torch.Tensor, batch: Batch) -> Losses:
    """Cross entropy of the answers and of the hints, and of the sets named."""
    told = (hidden, batch.targets, batch.target_at), (early, batch.hints, batch.hint_at)
    words, hints = (
        F.cross_entropy(model.lm_head(states.flatten(0, 1)[at]), wanted.flatten()[at])
        if len(at)
        else states.new_zeros(())
        for states, wanted, at in told
    )
    if not len(batch.sets):
        return Losses(words, hints, words.new_zeros(()))
    named = set_head(hidden[batch.set_rows, batch.set_columns])
    sets = F.binary_cross_entropy_with_logits(named, batch.sets) * NOTHING / 8
    return Losses(words, hints, sets)
