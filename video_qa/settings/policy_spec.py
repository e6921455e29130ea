"""A memory policy as it is written on the command line: ``name`` or ``name:option=value:...``.

An option is the policy's own (``two_speed:recent_share=0.3``) or any field of the memory's
configuration (``hermes:reindex=eager:profile=paper``). The whole text is the policy's name in
folders, configurations and tables, so that two settings of one policy never mix.
"""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

from video_qa.settings.run_settings import RunSettings, SettingsError

SET_ELSEWHERE = ("kv_size", "policy", "policy_options", "chunk_frames")
"""Fields of the memory's configuration that have arguments of their own."""


def read_policy(spec: str) -> tuple[str, dict[str, Any]]:
    """Name and options; values are read as JSON (``0.5``, ``true``, ``null``) or else as text.

    Raises:
        SettingsError: something between colons is not of the form option=value.
    """
    name, *parts = spec.split(":")
    options: dict[str, Any] = {}
    for part in parts:
        key, sign, value = part.partition("=")
        if not (key and sign and value) or key in options:
            raise SettingsError(
                f"policy '{spec}': expected NAME:OPTION=VALUE:..., each option once, got '{part}'"
            )
        options[key] = _value(value)
    return name, options


def split_options(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part options into the policy's own and fields of `MemoryConfig` (lists become tuples)."""
    if not options:
        return {}, {}
    known = memory_fields()
    own = {key: value for key, value in options.items() if key not in known}
    shared = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in options.items()
        if key in known
    }
    return own, shared


def named_fields(settings: RunSettings) -> dict[str, Any]:
    """What the user named of the memory, by the names of `hermes.MemoryConfig`.

    What stands in the policy's text goes before an argument of the runner, a profile for instance.
    """
    policy, options = read_policy(settings.policy)
    own, shared = split_options(options)
    named: dict[str, Any] = {
        "kv_size": settings.kv_size,
        "policy": policy,
        "profile": settings.profile,
        "chunk_frames": settings.chunk_frames,
    }
    if own:
        named["policy_options"] = own
    return named | shared


def memory_fields() -> tuple[str, ...]:
    """Fields of the memory's configuration that a policy's text may set."""
    from hermes import MemoryConfig

    return tuple(f.name for f in fields(MemoryConfig) if f.init and f.name not in SET_ELSEWHERE)


def check_policy(spec: str) -> None:
    """Raises SettingsError (ValueError), with the known ones, for an unknown policy or option, and
    for a field that contradicts what defines the policy."""
    from hermes import POLICIES, configure
    from hermes.policy_parts.options import read_options

    name, options = read_policy(spec)
    if name not in POLICIES:
        known = ", ".join(POLICIES)
        raise SettingsError(f"unknown policy '{name}': expected one of {known}")
    own, shared = split_options(options)
    try:
        read_options(name, POLICIES[name].Options, own)
    except ValueError as error:
        shareable = ", ".join(memory_fields())
        raise SettingsError(f"{error}; for every policy: {shareable}") from error
    try:
        configure(kv_size=1, policy=name, **shared)
    except (TypeError, ValueError) as error:
        raise SettingsError(f"policy '{spec}': {error}") from error


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
