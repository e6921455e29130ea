"""From what a user named, a family and a data set to the configuration of a stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hermes.config import PROFILES, MemoryConfig
from hermes.policies import policy_kind
from hermes.precedence import resolve

FamilyConstants = Mapping[str, Mapping[str, Any]]
"""Profile -> fields in which a family differs from `PROFILES`; a missing profile means none."""


def configure(
    *,
    family: FamilyConstants | None = None,
    data_set: Mapping[str, Any] | None = None,
    **named: Any,
) -> MemoryConfig:
    """The configuration of a stream, settled: family < data set < policy < named.

    Args:
        family: what the model's family brings along, `constants` of its engine.
        data_set: what the data set asks for, e.g. ``{"reindex": "eager"}``.
        named: fields of `MemoryConfig` as the user names them; `kv_size` is needed, `profile` and
            `policy` choose the presets.

    Raises:
        TypeError: `kv_size` is missing.
        ValueError: unknown profile, policy or field (the message lists the known ones), a value
            outside its range, or one that contradicts what defines the policy.
    """
    profile = named.get("profile", MemoryConfig.profile)
    if profile not in PROFILES:
        raise ValueError(f"unknown profile {profile!r}; known: {', '.join(PROFILES)}")
    return resolve(
        {
            "family": {**PROFILES[profile], **(family or {}).get(profile, {})},
            "data set": data_set or {},
            "policy": policy_kind(named.get("policy", MemoryConfig.policy)).defines,
            "user": named,
        }
    )
