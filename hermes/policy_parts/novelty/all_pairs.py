"""Tokens that repeat nothing older, by comparing all with all.

Shapes: l layers, n tokens, g key heads, d head width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hermes.policy_parts.novelty.nearest_older import unit_states
from hermes.store.blocks import MOST_NUMBERS


def stream_novelty(states: Tensor, most_numbers: int = MOST_NUMBERS) -> Tensor:
    """(l, n) fp32 in [0, 1]: how little a token repeats any older one, wherever in the picture.

    Of a thing that comes back again and again only the first sight is new, so that the best tokens
    cover the most different things (compare max-min diversity, DivPrune, arXiv 2503.02175).

    Args:
        states: (l, g, n, d) keys or values in time order.
        most_numbers: bound on the similarities that exist at a time.

    Returns:
        1 - largest mean cosine over heads with a token before it; 1 for the first token.
    """
    layers, _, tokens, _ = states.shape
    unit = unit_states(states, torch.float32)
    result = torch.ones(layers, tokens, device=unit.device)
    block = max(1, most_numbers // max(1, layers * tokens))
    for start in range(0, tokens, block):
        likeness = unit[:, start : start + block] @ unit[:, : start + block].transpose(1, 2)
        older = torch.ones_like(likeness[0], dtype=torch.bool).tril(start - 1)
        nearest = likeness.masked_fill(~older, 0).amax(dim=2)
        result[:, start : start + block] = (1 - nearest).clamp(0, 1)
    return result
