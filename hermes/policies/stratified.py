"""HERMES scores with a floor per time slice: what its scores lose is spread over the stream.

Not a published method. The released scores leave most kept tokens in the last minutes; here the
stream so far is cut into equal spans of time and each span is sure of an equal part of
`floor_share` of the budget, filled by its best tokens; the rest goes by score alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hermes.policies.hermes import Hermes
from hermes.policy_parts.options import check_count, check_share
from hermes.policy_parts.slices import time_slices, top_with_floors
from hermes.store.layer_stack import LayerStack


@dataclass(frozen=True)
class StratifiedOptions:
    """How the stream is cut and how much of the budget is shared out."""

    num_slices: int = 8
    floor_share: float = 0.5
    """Share of a layer's budget that is divided equally among the slices."""

    def __post_init__(self) -> None:
        check_count("num_slices", self.num_slices)
        check_share("floor_share", self.floor_share)


class Stratified(Hermes):
    """`hermes`, but no span of time is ever forgotten."""

    Options = StratifiedOptions

    def select(self, stack: LayerStack, attention: Tensor | None) -> Tensor:
        """Floors first, then the best of the rest; `attention` are the scores."""
        assert attention is not None
        options = self.options
        slices = time_slices(stack.origin.seconds[:, stack.visual], options.num_slices)
        return top_with_floors(
            attention,
            slices,
            options.num_slices,
            options.floor_share,
            self.budget(stack),
            self.folding(stack),
        )
