"""Options that belong to one policy: a frozen, self-checking dataclass per policy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class NoOptions:
    """For a policy that has nothing to set."""


def read_options(policy: str, kind: type[Any], given: Mapping[str, Any]) -> Any:
    """Build the options of a policy.

    Raises:
        ValueError: an unknown option (the message lists the known ones with their defaults), or a
            value outside its range.
    """
    defaults = {field.name: field.default for field in fields(kind)}
    if unknown := sorted(set(given) - set(defaults)):
        known = ", ".join(f"{name} (default {value!r})" for name, value in defaults.items())
        raise ValueError(
            f"unknown option {', '.join(unknown)} of policy {policy!r}; known: {known or 'none'}"
        )
    try:
        return kind(**given)
    except (TypeError, ValueError) as error:
        raise ValueError(f"policy {policy!r}: {error}") from error


def check_share(name: str, value: object, low: float = 0, high: float = 1) -> None:
    """Raise ValueError unless `value` is a number in [low, high]."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{name} must be a number in [{low:g}, {high:g}], got {value!r}")


def check_count(name: str, value: object, minimum: int = 1) -> None:
    """Raise ValueError unless `value` is an integer of at least `minimum`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise ValueError(f"{name} must be an integer of at least {minimum}, got {value!r}")


def check_positive(name: str, value: object) -> None:
    """Raise ValueError unless `value` is a finite number above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"{name} must be a finite number above 0, got {value!r}")


def check_flag(name: str, value: object) -> None:
    """Raise ValueError unless `value` is a bool."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, got {value!r}")


def check_choice(name: str, value: object, known: tuple[str, ...]) -> None:
    """Raise ValueError unless `value` is one of `known`."""
    if value not in known:
        raise ValueError(f"unknown {name} {value!r}; known: {', '.join(known)}")
