"""A memory policy as it is written in one text: ``name`` or ``name:option=value:...``.

An option is the policy's own (``two_speed:recent_share=0.3``) or any field of the memory's
configuration (``hermes:reindex=eager:profile=paper``). The whole text is the policy's name in
folders, configurations and tables, so that two settings of one policy never mix.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

SET_ELSEWHERE = ("kv_size", "policy", "policy_options", "chunk_frames")
"""Fields of the memory's configuration that have arguments of their own."""


POLICY_NAMES = (
    "blank_frames",
    "confirmed_novelty",
    "dscache",
    "hermes",
    "infinipot_v",
    "keyrec",
    "last_frames",
    "live_vlm",
    "none",
    "random",
    "recent",
    "rekv",
    "shallow_stream",
    "stratified",
    "stream_mem",
    "streaming_llm",
    "two_speed",
    "two_speed_recall",
    "uniform",
    "uniform_frames",
    "uniform_recent",
)
"""The keys of `hermes.policies.POLICIES`, for help texts, which have to come without torch."""


def read_policy(spec: str) -> tuple[str, dict[str, Any]]:
    """Name and options; values are read as JSON (``0.5``, ``true``, ``null``) or else as text.

    Raises:
        ValueError: something between colons is not of the form option=value.
    """
    name, *parts = spec.split(":")
    options: dict[str, Any] = {}
    for part in parts:
        key, sign, value = part.partition("=")
        if not (key and sign and value) or key in options:
            raise ValueError(
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


def with_policy_text(text: str, given: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The policy's name, and `given` memory options joined by those of the text.

    Raises:
        ValueError: malformed text, or an option both in the text and in `given`.
    """
    name, found = read_policy(text)
    own, shared = split_options(found)
    given_own = given.get("policy_options", {})
    if twice := sorted(shared.keys() & given.keys() | own.keys() & given_own.keys()):
        raise ValueError(f"policy '{text}': {', '.join(twice)} given twice; leave one out")
    joined = {**given, **shared}
    if own:
        joined["policy_options"] = {**given_own, **own}
    return name, joined


def memory_fields() -> tuple[str, ...]:
    """Fields of the memory's configuration that a policy's text may set."""
    from hermes.config import MemoryConfig

    return tuple(f.name for f in fields(MemoryConfig) if f.init and f.name not in SET_ELSEWHERE)


def check_policy(spec: str) -> None:
    """Raises ValueError, with the known ones, for an unknown policy or option, and for a field that
    contradicts what defines the policy."""
    from hermes.configuration import configure
    from hermes.policies import POLICIES
    from hermes.policy_parts.options import read_options

    name, options = read_policy(spec)
    if name not in POLICIES:
        known = ", ".join(POLICIES)
        raise ValueError(f"unknown policy '{name}': expected one of {known}")
    own, shared = split_options(options)
    try:
        read_options(name, POLICIES[name].Options, own)
    except ValueError as error:
        shareable = ", ".join(memory_fields())
        raise ValueError(f"{error}; for every policy: {shareable}") from error
    try:
        configure(kv_size=1, policy=name, **shared)
    except (TypeError, ValueError) as error:
        raise ValueError(f"policy '{spec}': {error}") from error


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
