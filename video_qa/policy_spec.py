"""A memory policy as it is written on the command line: ``name`` or ``name:option=value:...``.

The whole text is the policy's name in folders, configurations and tables, so that two settings of
one policy never mix.
"""

from __future__ import annotations

import json
from typing import Any

from video_qa.run_settings import SettingsError


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


def check_policy(spec: str) -> None:
    """Raises SettingsError (ValueError) with the known ones for an unknown policy or option."""
    from hermes.policies import POLICIES
    from hermes.policies.options import read_options

    name, options = read_policy(spec)
    if name not in POLICIES:
        known = ", ".join(POLICIES)
        raise SettingsError(f"unknown policy '{name}': expected one of {known}")
    try:
        read_options(name, POLICIES[name].Options, options)
    except ValueError as error:
        raise SettingsError(str(error)) from error


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
