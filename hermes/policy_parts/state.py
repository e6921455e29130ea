"""State of a policy as it stands in a saved stream."""

from __future__ import annotations

from typing import Any

PolicyState = dict[str, Any]
"""Name -> tensor, or anything JSON can say."""


def check_names(state: PolicyState, *expected: str) -> None:
    """Raise ValueError unless exactly these names are there."""
    if set(state) != set(expected):
        raise ValueError(
            f"expected {', '.join(sorted(expected)) or 'nothing'}, "
            f"found {', '.join(sorted(state)) or 'nothing'}"
        )


def frame_number(state: PolicyState, name: str) -> int:
    """A frame number, or -1 for none yet. Raises ValueError for anything else."""
    value = state[name]
    if type(value) is not int or value < -1:
        raise ValueError(f"{name} must be a frame number or -1, got {value!r}")
    return value


def frame_numbers(state: PolicyState, name: str) -> list[int]:
    """Ascending frame numbers. Raises ValueError for anything else."""
    value = state[name]
    if not isinstance(value, list) or not all(type(n) is int and n >= 0 for n in value):
        raise ValueError(f"{name} must be a list of frame numbers, got {value!r}")
    if value != sorted(set(value)):
        raise ValueError(f"{name} must ascend, got {value!r}")
    return list(value)
