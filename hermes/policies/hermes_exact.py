"""HERMES as its paper describes it (arXiv 2601.14724): a preset of `hermes`.

The guidance attention is that of a true causal forward (section 3.3), and the weights of the
working band are those of Eq. 3 for every family; the decay is the released one, since the paper
gives none. Everything else, summaries and renumbering included, follows the configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from hermes.policies.hermes import Hermes


class HermesExact(Hermes):
    """`hermes` with the exact probe and Eq. 3."""

    defines: ClassVar[Mapping[str, Any]] = {
        "probe": "exact",
        "working_recency_weight": (0.75, 0.15),
        "working_decay": (20.0, 8.0),
    }
