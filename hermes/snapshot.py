"""Save a stream to a safetensors file and continue it later, on another device if need be.

Shapes: l layers, g key heads, n tokens in use, d head width, a position axes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hermes.provenance import ProvenanceBuffers

if TYPE_CHECKING:
    from hermes.memory import StreamMemory

_FORMAT = "hermes-stream-1"
_NAMES = {"keys", "values", "positions", "next_position", *ProvenanceBuffers.NAMES}


class SnapshotError(ValueError):
    """A file is no snapshot, is damaged, or belongs to another model."""


def save(memory: StreamMemory, path: str | Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write the tokens in use: keys, values (l, g, n, d), positions (l, a, n), provenance (l, n).

    The file appears under its name only when it is complete.

    Args:
        metadata: texts to keep with the stream (dialogue history, configuration).
    """
    target = Path(path)
    partial = target.with_name(target.name + ".partial")
    counts = {
        "format": _FORMAT,
        "num_prefix": str(memory.num_prefix),
        "num_tokens": str(memory.num_tokens),
        "position_bound": str(memory.position_bound),
    }
    try:
        save_file(_tensors(memory), partial, metadata={**(metadata or {}), **counts})
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def load(memory: StreamMemory, path: str | Path) -> dict[str, str]:
    """Replace the content of `memory` by a snapshot's. Returns the metadata given to `save`.

    Raises:
        SnapshotError: missing, damaged or foreign file, or a model of another shape. The memory
            is unchanged then.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise SnapshotError(f"cannot read the snapshot {path}: {error}") from error
    if metadata.pop("format", None) != _FORMAT or not set(tensors) >= _NAMES:
        raise SnapshotError(f"{path} is not a snapshot of a stream ({_FORMAT})")
    _check_shape(memory, tensors, path)
    _fill(memory, tensors, metadata)
    return metadata


def _tensors(memory: StreamMemory) -> dict[str, Tensor]:
    used = memory.num_tokens
    tensors = {
        name: torch.stack([getattr(layer, name)[:, :used].cpu() for layer in memory.layers])
        for name in ("keys", "values")
    }
    tensors["positions"] = memory.positions[..., :used].cpu().contiguous()
    tensors["next_position"] = memory.next_position.cpu()
    for name in memory.provenance.NAMES:
        tensors[name] = getattr(memory.provenance, name)[:, :used].cpu().contiguous()
    return tensors


def _check_shape(memory: StreamMemory, tensors: dict[str, Tensor], path: str | Path) -> None:
    heads, _, width = memory.layers[0].keys.shape
    expected = (memory.num_layers, heads, width, memory.positions.shape[1])
    layers, found_heads, _, found_width = tensors["keys"].shape
    found = (layers, found_heads, found_width, tensors["positions"].shape[1])
    if found != expected:
        raise SnapshotError(
            f"{path} is of another model: (layers, key heads, head width, position axes) are "
            f"{found}, this model has {expected}"
        )


def _fill(memory: StreamMemory, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    memory.clear()
    num_prefix = int(metadata.pop("num_prefix"))
    used = int(metadata.pop("num_tokens"))
    memory.position_bound = float(metadata.pop("position_bound"))
    memory.reserve(used)
    for stack in memory.stacks:
        rows = slice(stack.layers.start, stack.layers.stop)
        stack.keys[:, :, :used] = tensors["keys"][rows]
        stack.values[:, :, :used] = tensors["values"][rows]
        stack.positions[..., :used] = tensors["positions"][rows]
        stack.next_position.copy_(tensors["next_position"][rows])
        for name in ProvenanceBuffers.NAMES:
            getattr(stack.origin, name)[:, :used] = tensors[name][rows]
    memory.hold(num_prefix, used)
