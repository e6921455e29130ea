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
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from hermes.memory import StreamMemory
from hermes.policy_parts.base import Policy
from hermes.policy_parts.frames import frame_tail
from hermes.policy_parts.options import check_share
from hermes.policy_parts.selection import pictures_only, top_after
from hermes.policy_parts.value_norm import known_frames, pooled_norms
from hermes.store.layer_stack import LayerStack

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


class _Plan(NamedTuple):
    """Counts that hold for all layers of one compression."""

    length: int
    """Tokens per frame."""
    budget: int
    reference: int
    """Newest tokens that stay whole."""
    num_tar: int
    grid: tuple[int, int]
    """Rows and columns of a frame."""
    known: Tensor
    """Frames that any layer holds."""


class InfinipotV(Policy):
    """Keeps what does not repeat and what carries large values."""

    needs_equal_frames: ClassVar[bool] = True
    Options = InfinipotVOptions

    def choose(self, memory: StreamMemory, attention: Sequence[Tensor | None]) -> list[Tensor]:
        """Reference frames, TaR, VaN. Waits for the device once per stack."""
        options, tail = self.options, frame_tail(memory)
        length = tail.tokens_per_frame
        budget = max(tail.tokens_with_text, int(options.target_ratio * self.config.kv_size))
        wanted = int(options.query_ratio * memory.num_visual / length)
        fitting = budget // tail.tokens_with_text
        reference = max(1, min(wanted, tail.num_whole, fitting)) * length
        num_tar = int(options.tar_ratio * (budget - reference))
        grid, known = memory.ledger.newest.size, known_frames(memory)
        self._plan = _Plan(length, budget, reference, num_tar, grid, known)
        return super().choose(memory, attention)

    def select(self, stack: LayerStack, attention: Tensor | None) -> Tensor:
        """As planned for all stacks."""
        plan = self._plan
        secured = redundant_last(stack, plan.reference, plan.length, plan.num_tar)
        scores = pooled_norms(stack, plan.known, plan.grid, self.layout.num_layers)
        is_text = stack.origin.is_text[:, stack.visual]
        return top_after(pictures_only(scores, is_text), secured, plan.budget)


def redundant_last(stack: LayerStack, reference: int, length: int, count: int) -> Tensor:
    """(l, n) bool: the newest `reference` tokens, and the `count` older ones that TaR keeps."""
    older, total = stack.num_visual - reference, stack.num_visual
    patches = stack.origin.patch[:, stack.visual][:, :older]
    visual = stack.visual
    likeness = [
        _likeness(stack.keys[layers, :, visual], patches[layers], length)
        for layers in stack.blocks(total)
    ]
    is_text = stack.origin.is_text[:, visual][:, :older]
    scores = pictures_only(torch.cat(likeness).neg(), is_text)
    secured = torch.ones(len(stack), total, dtype=torch.bool, device=stack.device)
    secured[:, :older] = False
    best = scores.topk(min(count, older), sorted=False).indices
    return secured.scatter_(1, best, torch.ones_like(best, dtype=torch.bool))


def _likeness(keys: Tensor, patches: Tensor, length: int) -> Tensor:
    """(l, older) mean cosine of each older token with the newer ones at its patch."""
    unit, older = normalize(keys.float(), dim=-1), patches.shape[1]
    mean = unit[:, :, older:].unflatten(2, (-1, length)).mean(dim=2)
    places = patches.clamp(min=0)[:, None, :, None].expand(-1, unit.shape[1], -1, unit.shape[3])
    return (unit[:, :, :older] * mean.gather(2, places)).sum(dim=-1).mean(dim=1)
