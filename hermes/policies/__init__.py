"""Memory policies by name. A new policy is one file here and one line below."""

from __future__ import annotations

from hermes.config import MemoryConfig
from hermes.layout import MemoryLayout
from hermes.policies.base import Guidance, Policy
from hermes.policies.hermes import Hermes
from hermes.policies.none import KeepAll
from hermes.policies.random import Random
from hermes.policies.recent import Recent
from hermes.policies.uniform import Uniform

POLICIES: dict[str, type[Policy]] = {
    "hermes": Hermes,
    "none": KeepAll,
    "random": Random,
    "recent": Recent,
    "uniform": Uniform,
}


def make_policy(config: MemoryConfig, num_layers: int) -> Policy:
    """The policy that `config` names, for a model of `num_layers` layers.

    Raises:
        ValueError: unknown name; the message lists the known ones.
    """
    if config.policy not in POLICIES:
        raise ValueError(f"unknown policy {config.policy!r}; known: {', '.join(sorted(POLICIES))}")
    policy = POLICIES[config.policy](config, MemoryLayout.from_config(num_layers, config))
    policy.reset()
    return policy


__all__ = ["POLICIES", "Guidance", "Policy", "make_policy"]
