"""Who decides a field that several set: family < data set < policy < what the user named.

Presets yield without a word, since nobody asked for them. What the user named yields to nothing:
where it contradicts a field that defines the policy, there is an error instead of a choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from hermes.config import MemoryConfig

LAYERS = ("family", "data set", "policy", "user")
"""From the weakest to the strongest. A profile is part of the family's layer."""


def resolve(layers: Mapping[str, Mapping[str, Any]]) -> MemoryConfig:
    """The configuration that comes out of `layers`, with a record of who decided what (`set_by`).

    Args:
        layers: some of `LAYERS` -> fields of `MemoryConfig`.

    Raises:
        ValueError: an unknown field (the message lists the known ones), a value outside its range,
            or a field that the user and the policy set to different values.
    """
    values: dict[str, Any] = {}
    set_by: dict[str, str] = {}
    for layer in LAYERS:
        values |= layers.get(layer, {})
        set_by |= dict.fromkeys(layers.get(layer, {}), layer)
    known = [known.name for known in fields(MemoryConfig) if known.init]
    if unknown := sorted(set(values) - set(known)):
        raise ValueError(f"unknown memory option {unknown}; known: {', '.join(sorted(known))}")
    config = MemoryConfig(**values)
    _refuse_contradictions(config.policy, layers.get("policy", {}), layers.get("user", {}))
    object.__setattr__(config, "set_by", set_by)
    return config


def layers_of(config: MemoryConfig) -> dict[str, dict[str, Any]]:
    """The layers that `config` came out of: `resolve(layers_of(config)) == config`."""
    found: dict[str, dict[str, Any]] = {layer: {} for layer in LAYERS}
    for name, layer in config.set_by.items():
        found[layer][name] = getattr(config, name)
    return found


def _refuse_contradictions(
    policy: str, defines: Mapping[str, Any], named: Mapping[str, Any]
) -> None:
    for name in sorted(set(defines) & set(named)):
        if named[name] != defines[name]:
            raise ValueError(
                f"{_spelled(name, named[name])} contradicts the policy {policy!r}, which is "
                f"defined by {_spelled(name, defines[name])}: leave {name} out, or choose another "
                "policy"
            )


def _spelled(name: str, value: object) -> str:
    flag = f" (streaming={value == 'lazy'})" if name == "reindex" else ""
    return f"{name}={value!r}{flag}"
