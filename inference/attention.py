"""Attention of new tokens over the memory, causal to the lower right, heads grouped without copies.

Shapes: h query heads, g key heads, r = h / g, q new tokens, n tokens up to and with the new ones,
d head width.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.utils._python_dispatch import _disable_current_modes, _get_current_dispatch_mode

from inference.errors import ModelLoadError

if TYPE_CHECKING:
    from torch.nn.attention.bias import CausalBias

_FLASH_CAPABILITY = 8
"""Major compute capability that flash-attn 2 is compiled for."""

_MOST_ADDED = 1 << 22
"""Numbers of a mask up to which it is kept as what is added to logits: a bool mask becomes that in
every layer, but takes less memory."""

Kernel = Callable[[Tensor, Tensor, Tensor, float], Tensor]
"""queries (h, q, d), keys and values (g, n, d), scaling -> (h, q, d)."""


def sdpa(queries: Tensor, keys: Tensor, values: Tensor, scaling: float) -> Tensor:
    """Torch's kernels. Half precision on a GPU takes flash attention without building a mask."""
    if queries.shape[1] > 1 and queries.is_cuda and queries.dtype != torch.float32:
        return _grouped_causal(queries, keys, values, scaling)
    return _folded(queries, keys, values, scaling)


def _grouped_causal(queries: Tensor, keys: Tensor, values: Tensor, scaling: float) -> Tensor:
    bias = _causal_bias(queries.shape[1], keys.shape[1])
    return scaled_dot_product_attention(
        queries[None], keys[None], values[None], attn_mask=bias, scale=scaling, enable_gqa=True
    )[0]


def _causal_bias(num_new: int, num_keys: int) -> CausalBias:
    """Where something watches operators (a profiler, a count), torch builds this subclass without
    data from a tensor that has been seen, and fails."""
    from torch.nn.attention.bias import causal_lower_right  # brings torch's compiler: a second

    if _get_current_dispatch_mode() is None:
        return causal_lower_right(num_new, num_keys)
    with _disable_current_modes():
        return causal_lower_right(num_new, num_keys)


def _folded(queries: Tensor, keys: Tensor, values: Tensor, scaling: float) -> Tensor:
    """The r query heads that share a key head become r * q rows of it."""
    (num_heads, num_new, _), (num_groups, num_keys, _) = queries.shape, keys.shape
    mask = None
    if num_new > 1:
        repeats = num_heads // num_groups
        mask = _folded_mask(num_new, num_keys, repeats, queries.device, queries.dtype)
    return masked(queries, keys, values, scaling, mask)


def masked(
    queries: Tensor, keys: Tensor, values: Tensor, scaling: float, mask: Tensor | None
) -> Tensor:
    """As `_folded`, under a (r * q, n) mask: bool, True where a row may look, or what is added to
    its logits; None: everywhere."""
    rows = queries.reshape(1, len(keys), -1, queries.shape[2])
    attended = scaled_dot_product_attention(
        rows, keys[None], values[None], attn_mask=mask, scale=scaling
    )
    return attended.reshape(queries.shape)


@lru_cache(maxsize=4)  # all layers of a band share one mask
def _folded_mask(
    num_new: int, num_keys: int, repeats: int, device: torch.device, dtype: torch.dtype
) -> Tensor:
    return added(lower_right_mask(num_new, num_keys, device).repeat(repeats, 1), dtype)


def added(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """What a bool mask, True where a row may look, adds to logits; a large one as it is."""
    if mask.numel() > _MOST_ADDED:
        return mask
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(~mask, -torch.inf)


def lower_right_mask(num_new: int, num_keys: int, device: torch.device) -> Tensor:
    """(q, n) bool, True where a new token may look: `is_causal=True` would align upper left."""
    full = torch.ones(num_new, num_keys, dtype=torch.bool, device=device)
    return full.tril_(num_keys - num_new)


def flash(queries: Tensor, keys: Tensor, values: Tensor, scaling: float) -> Tensor:
    """The flash-attn package (>= 2.1 aligns to the lower right)."""
    from flash_attn import flash_attn_func

    attended = flash_attn_func(
        queries.transpose(0, 1)[None],
        keys.transpose(0, 1)[None],
        values.transpose(0, 1)[None],
        softmax_scale=scaling,
        causal=True,
    )
    return attended[0].transpose(0, 1)


KERNELS: dict[str, Kernel] = {"sdpa": sdpa, "flash": flash}


def choose_kernel(attn: str, device: torch.device, dtype: torch.dtype) -> tuple[str, Kernel]:
    """Resolve `attn` in {"auto", "sdpa", "flash"}; "auto" takes flash-attn where it can run.

    Raises:
        ModelLoadError: unknown name, or flash asked for where it cannot run (saying why).
    """
    if attn not in {"auto", *KERNELS}:
        raise ModelLoadError(f"unknown attn {attn!r}; known: auto, {', '.join(KERNELS)}")
    obstacle = _flash_obstacle(device, dtype)
    if attn == "flash" and obstacle:
        raise ModelLoadError(f"attn='flash' cannot be used: {obstacle}; attn='sdpa' always works")
    name = "sdpa" if attn == "sdpa" or obstacle else "flash"
    return name, KERNELS[name]


def _flash_obstacle(device: torch.device, dtype: torch.dtype) -> str | None:
    if device.type != "cuda":
        return f"it needs a CUDA device, the model is on {device}"
    if dtype == torch.float32:
        return "it needs float16 or bfloat16"
    try:
        import flash_attn  # noqa: F401
    except ImportError:
        return "the package flash-attn is not installed (pip install '.[flash]')"
    major, minor = torch.cuda.get_device_capability(device)
    if major < _FLASH_CAPABILITY:
        return (
            f"it needs compute capability {_FLASH_CAPABILITY}.0 (Ampere or newer), "
            f"{device} has {major}.{minor}"
        )
    return None
