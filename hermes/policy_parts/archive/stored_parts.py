"""Tensors of stored frames as they come out of a file."""

from __future__ import annotations

import torch
from torch import Tensor


def checked(name: str, part: Tensor, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """The part, in the dtype of this model. Raises ValueError for another shape or kind."""
    same_kind = part.dtype == dtype or (part.is_floating_point() and dtype.is_floating_point)
    if part.shape != shape or not same_kind:
        raise ValueError(
            f"{name} is {part.dtype} of {tuple(part.shape)}, expected {dtype} of {tuple(shape)}"
        )
    part = part.to(dtype)
    if not torch.isfinite(part).all():
        raise ValueError(f"{name} holds values that are not finite")
    return part


def pinned(part: Tensor) -> Tensor:
    """A copy that a GPU can read on its own."""
    return torch.empty_like(part, pin_memory=True).copy_(part)
