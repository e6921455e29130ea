"""Errors of this package that a caller can act on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from hermes import ContextLimitError


class ModelLoadError(ValueError):
    """A checkpoint cannot be loaded; the message says what was given and what to do."""


class FrameError(ValueError):
    """Frames have the wrong type or shape, or do not fit the budget."""


class NonFiniteLogitsError(RuntimeError):
    """The model's output is NaN or infinite, so no token can be chosen."""


class DeviceMemoryError(torch.OutOfMemoryError):
    """The device ran out of memory; the message names the settings that need less."""


def position_advice(evicts: bool) -> str:
    """What is left to do at the model's position limit; nothing that is done already."""
    if evicts:
        return "lower kv_size or chunk_frames"
    return "this policy evicts nothing; take one that does, e.g. policy='hermes'"


@contextmanager
def naming_remedies(doing: str, advice: str | None, **settings: object) -> Iterator[None]:
    """Let errors at a limit say what was done under which settings, and what to change.

    Args:
        advice: what to do at the position limit; None leaves that error as it is.

    Raises:
        ContextLimitError, DeviceMemoryError: chained from the original error.
    """
    try:
        yield
    except ContextLimitError as error:
        if advice is None:
            raise
        raise ContextLimitError(f"{error}; {advice}") from error
    except torch.OutOfMemoryError as error:
        now = ", ".join(f"{name} {value}" for name, value in settings.items() if value is not None)
        raise DeviceMemoryError(
            f"out of device memory while {doing} ({now}): lower kv_size, chunk_frames or "
            f"max_pixels, take a half-precision dtype or kv_dtype='int8', or a GPU with more free "
            f"memory. {error}"
        ) from error
