"""Making room: when to prune, what to fold, when to renumber (paper sections 3.3 and 3.4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hermes.memory import StreamMemory, fold_evicted
from hermes.policy_parts.base import Policy
from hermes.policy_parts.frame_text import pictures_attention, settle_text
from hermes.policy_parts.guidance import Guidance
from hermes.positions import PositionRule
from hermes.store.layer_stack import LayerStack

AttentionOf = Callable[[dict[int, Guidance]], Sequence[Tensor | None]]
"""Layer -> guidance text  to  per stack (l, n) attention, as `Policy.choose` takes it; supplied by
the engine."""


@dataclass(frozen=True)
class Compression:
    """What one compression did."""

    entered: bool
    """Whether prefix and visual tokens together exceeded the budget (the released trigger)."""
    kept: Sequence[Tensor] | None = None
    """Per layer the indices of the visual tokens that stayed; None if nothing was evicted."""
    renumbered: bool = False


def compress(
    memory: StreamMemory,
    policy: Policy,
    rule: PositionRule,
    max_positions: int,
    attention_of: AttentionOf,
) -> Compression:
    """Bring every layer to its budget. Attention is asked for only if something is evicted.

    As released, pruning is entered when prefix *and* visual tokens exceed `kv_size`, while the
    budget counts visual tokens only; eager renumbering happens whenever pruning is entered. Not as
    released, lazy renumbering keeps its margin whether pruning is entered or not, and
    `attention_of` may renumber before it scores, where a guidance text would pass the limit.
    """
    config = policy.config
    if not policy.evicts:
        return Compression(entered=False)
    if all(stack.num_tokens <= policy.budget(stack) for stack in memory.stacks):
        return Compression(
            entered=False, renumbered=_keep_margin(memory, policy, rule, max_positions)
        )
    renumber = rule.renumber if _renumbers(memory, policy, max_positions) else None
    if not policy.overflows(memory.stacks):
        if renumber:
            memory.renumber(renumber)
        return Compression(entered=True, renumbered=renumber is not None)
    wanted = {layer: text for layer in range(memory.num_layers) if (text := policy.guidance(layer))}
    before = memory.num_renumberings
    attention = attention_of(wanted)
    kept, attention = choose(memory, policy, attention)
    folding = [policy.folding(stack) for stack in memory.stacks]
    weighted = config.summary == "weighted"
    summaries = [
        fold_evicted(stack, layers, rows, weighted=weighted, has_text=memory.has_frame_text)
        if layers
        else None
        for stack, layers, rows in zip(memory.stacks, folding, kept, strict=True)
    ]
    policy.evicting(memory, attention, kept)
    if config.frame_text == "dropped":
        memory.ledger.forget_text()
    memory.keep(kept, summaries, renumber)
    return Compression(
        entered=True,
        kept=rows_per_layer(folding, kept),
        renumbered=memory.num_renumberings > before,
    )


def choose(
    memory: StreamMemory, policy: Policy, attention: Sequence[Tensor | None]
) -> tuple[list[Tensor], Sequence[Tensor | None]]:
    """What stays, text of frames as `MemoryConfig.frame_text` says, and the attention that it was
    chosen by; both as in `Policy.choose`."""
    if not memory.has_frame_text or policy.config.frame_text == "scored":
        return policy.choose(memory, attention), attention
    stacks = memory.stacks
    attention = [pictures_attention(*pair) for pair in zip(stacks, attention, strict=True)]
    kept = policy.choose(memory, attention)
    preferences = policy.preferences(memory, attention)
    return settle_text(policy, stacks, kept, preferences), attention


def stacked_attention(attention: Mapping[int, Tensor], stack: LayerStack) -> Tensor | None:
    """Attention (n,) of some layers as `Policy.choose` takes it: (l, n), zero in layers without;
    None where no layer of the stack has any."""
    found = [attention.get(layer) for layer in stack.layers]
    some = next((row for row in found if row is not None), None)
    if some is None:
        return None
    nothing = torch.zeros_like(some)
    return torch.stack([nothing if row is None else row for row in found])


def rows_per_layer(folding: Sequence[slice | None], kept: Sequence[Tensor]) -> list[Tensor]:
    """What `Policy.choose` gave, layer by layer and without the slots of the summaries; `folding`
    is `Policy.folding` of each stack."""
    return [
        row[:-1] if layers and index in range(layers.start, layers.stop) else row
        for layers, rows in zip(folding, kept, strict=True)
        for index, row in enumerate(rows)
    ]


def _keep_margin(
    memory: StreamMemory, policy: Policy, rule: PositionRule, max_positions: int
) -> bool:
    """Renumber lazily although nothing is pruned: a policy that cuts below its budget adds chunks
    without being entered, and a question must still find room."""
    if policy.config.reindex != "lazy" or not _renumbers(memory, policy, max_positions):
        return False
    memory.renumber(rule.renumber)
    return True


def _renumbers(memory: StreamMemory, policy: Policy, max_positions: int) -> bool:
    """Eager: always. Lazy: when a recorded position passes the model's limit less the margin."""
    if policy.config.reindex == "eager":
        return True
    threshold = max_positions - policy.config.margin_for(max_positions)
    if memory.position_bound - 1 <= threshold:
        return False
    return memory.measure_positions() - 1 > threshold


def ensure_positions(
    memory: StreamMemory, rule: PositionRule, max_positions: int, num_positions: float
) -> None:
    """Renumber before new tokens would reach the limit (the release checks only afterwards).

    Args:
        num_positions: positions the coming tokens need. A chunk needs no reserve for text: the
            compression that follows keeps the margin free, and guidance texts ask for themselves.

    Raises:
        ContextLimitError: not even gapless positions leave enough room.
    """
    limit = max_positions - num_positions
    if memory.position_bound <= limit or memory.measure_positions() <= limit:
        return
    memory.renumber(rule.renumber)
    if memory.measure_positions() > limit:
        raise ContextLimitError(
            f"the model's positions end at {max_positions}: {memory.num_tokens} tokens are in "
            f"memory (next position {memory.position_bound:g}) and {num_positions:g} more "
            "positions are needed"
        )


class ContextLimitError(RuntimeError):
    """The model's position range would be left."""
