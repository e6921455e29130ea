"""Named tensors and texts in a safetensors file that is complete, and unchanged since, or refused.

Version 2 carries a checksum over everything in it; version 1 was written by 0.1.0, without one.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

FORMAT = "hermes-stream-2"
FIRST_FORMAT = "hermes-stream-1"


class SnapshotError(ValueError):
    """A file is no snapshot, is damaged, or belongs to another model or other settings."""


class CheckedFile(NamedTuple):
    """What a file holds, in host memory."""

    path: Path
    texts: dict[str, str]
    tensors: dict[str, Tensor]
    has_checksum: bool
    """False for version 1."""


def write(path: str | Path, tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> None:
    """Write contiguous host tensors; the file appears under its name only when it is complete."""
    target = Path(path)
    partial = target.with_name(target.name + ".partial")
    texts = {**texts, "format": FORMAT}
    texts["checksum"] = checksum(tensors, texts)
    try:
        save_file(dict(tensors), partial, metadata=texts)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def read(path: str | Path) -> CheckedFile:
    """Read what `write`, of this or an older version, has written.

    Raises:
        SnapshotError: missing, damaged, altered or foreign file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            texts = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise SnapshotError(f"cannot read the snapshot {path}: {error}") from error
    version, noted = texts.get("format"), texts.pop("checksum", None)
    if version not in (FORMAT, FIRST_FORMAT):
        raise SnapshotError(f"{path} is not a snapshot of a stream ({FORMAT})")
    if version == FORMAT and checksum(tensors, texts) != noted:
        raise SnapshotError(f"{path} is damaged: its content does not have its checksum")
    del texts["format"]
    return CheckedFile(Path(path), texts, tensors, version == FORMAT)


def checksum(tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> str:
    """SHA-256, hexadecimal, over names, types, shapes and bytes of contiguous host tensors, and
    over texts."""
    digest = hashlib.sha256(repr(sorted(texts.items())).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
