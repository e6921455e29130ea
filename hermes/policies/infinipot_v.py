"""Temporal redundancy and value norm, no query: InfiniPot-V (NeurIPS 2025, arXiv 2506.15745).

When the cache exceeds the budget it is cut down to `target_ratio` of it, so that it need not be
cut at every chunk (released setting: 32 frames to 24).

TaR, temporal-axis redundancy: the newest `query_ratio` of the frames stay whole. Every older
token is compared with their tokens at the same patch; its score is minus the mean cosine of the
keys, and the least redundant ones get `tar_ratio` of what is left of the budget.

VaN, value norm: the rest goes to the tokens with the largest norm of the value, averaged first
over a neighbourhood that shrinks with depth: 7 x 7 x 7 in the lowest quarter of the layers, 5 x 5
inside a frame, 3 along the sequence, none. TaR's picks are in; both sets are joined in time order.

Deviations: all heads of a layer keep the same tokens (scores are averaged over heads; the
release chooses per head), because the memory holds one set of positions per layer. Keys are
un-rotated. Neighbours that were evicted earlier are left out of the averages. Positions follow
the configuration's renumbering (the release continues the original ones).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from hermes.memory import StreamMemory
from hermes.policies.base import Policy
from hermes.policies.frames import frame_grid, frame_tail
from hermes.policies.options import check_share
from hermes.policies.slices import top_after
from hermes.policies.value_norm import pooled

SMALLEST_RATIO = 1e-3


@dataclass(frozen=True)
class InfinipotVOptions:
    """Shares of the budget; defaults are the released ones."""

    target_ratio: float = 0.75
    """Part of kv_size that is left after a compression."""
    query_ratio: float = 0.25
    """Newest part of the cached frames: reference, and kept whole."""
    tar_ratio: float = 0.5
    """Part of the remaining budget chosen by TaR, the rest by VaN."""

    def __post_init__(self) -> None:
        check_share("target_ratio", self.target_ratio, low=SMALLEST_RATIO)
        check_share("query_ratio", self.query_ratio)
        check_share("tar_ratio", self.tar_ratio)


class InfinipotV(Policy):
    """Keeps what does not repeat and what carries large values."""

    Options = InfinipotVOptions

    def select(self, memory: StreamMemory, attention: Sequence[Tensor | None]) -> list[Tensor]:
        """Reference frames, TaR, VaN. Waits for the device once."""
        options, tail = self.options, frame_tail(memory)
        length = tail.tokens_per_frame
        budget = max(length, int(options.target_ratio * self.config.kv_size))
        wanted = int(options.query_ratio * memory.num_visual / length)
        reference = max(1, min(wanted, tail.num_whole, budget // length)) * length
        num_tar = int(options.tar_ratio * (budget - reference))
        pool = pooled(memory, frame_grid(memory, length))
        kept = []
        for layer in range(memory.num_layers):
            secured = redundant_last(memory, layer, reference, length, num_tar)
            kept.append(top_after(pool(layer), secured, min(budget, memory.num_visual)))
        return kept


def redundant_last(
    memory: StreamMemory, layer: int, reference: int, length: int, count: int
) -> Tensor:
    """(n,) bool: the newest `reference` tokens, and the `count` older ones that TaR keeps."""
    visual = slice(memory.num_prefix, memory.num_tokens)
    keys = normalize(memory.layers[layer].keys[:, visual].float(), dim=-1)
    older = keys.shape[1] - reference
    mean = keys[:, older:].unflatten(1, (-1, length)).mean(dim=1)
    patch = memory.provenance.patch[layer, visual][:older].to(keys.device)
    scores = -(keys[:, :older] * mean[:, patch]).sum(dim=-1).mean(dim=0)
    secured = torch.ones(keys.shape[1], dtype=torch.bool, device=keys.device)
    secured[:older] = False
    secured[scores.topk(min(count, older), sorted=False).indices] = True
    return secured
