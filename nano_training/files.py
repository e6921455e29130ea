"""Checkpoints of a training run: written whole or not at all, damage is named."""

import os
from pathlib import Path

import torch


class TrainingError(ValueError):
    """Training cannot go on; the message says what to do."""


def save_whole(content: dict, path: Path) -> None:
    """Write next to `path`, then rename: no half-written checkpoint is taken for a whole one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    torch.save(content, part)
    os.replace(part, path)


def load_whole(path: Path, device: str) -> dict:
    """Read a checkpoint of an earlier run.

    Raises:
        TrainingError: the file is damaged.
    """
    try:
        return torch.load(path, weights_only=True, map_location=device)
    except Exception as error:
        raise TrainingError(
            f"{path} is damaged; delete it to train that part again ({error})"
        ) from error
