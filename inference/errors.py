"""Errors of this package that a caller can act on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


class ModelLoadError(ValueError):
    """A checkpoint cannot be loaded; the message says what was given and what to do."""


class FrameError(ValueError):
    """Frames have the wrong type or shape, or do not fit the budget."""


class NonFiniteLogitsError(RuntimeError):
    """The model's output is NaN or infinite, so no token can be chosen."""


class DeviceMemoryError(torch.OutOfMemoryError):
    """The device ran out of memory; the message names the settings that need less."""


@contextmanager
def naming_remedies(doing: str, **settings: object) -> Iterator[None]:
    """Turn `torch.OutOfMemoryError` into one that says what was done under which settings.

    Raises:
        DeviceMemoryError: chained from the original error.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        now = ", ".join(f"{name} {value}" for name, value in settings.items() if value is not None)
        raise DeviceMemoryError(
            f"out of device memory while {doing} ({now}): lower kv_size, chunk_frames or "
            f"max_pixels, take a half-precision dtype, or a GPU with more free memory. {error}"
        ) from error
