"""A stream in a file: the memory, the dialogue and the count of frames; continue it days later."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from hermes import Policy, SnapshotError
from inference.prompts import Turn

if TYPE_CHECKING:
    from inference.abstract_hermes import AbstractHermes


def save_stream(engine: AbstractHermes, path: str | Path) -> None:
    """Write everything that a continued stream needs (safetensors; complete or not there at all).

    Raises:
        SnapshotError: the policy keeps state of its own beside the memory, which is not saved.
    """
    has_own_state = type(engine.policy).reset is not Policy.reset
    if engine.reprefill or has_own_state:
        raise SnapshotError(
            f"the policy {engine.config.policy!r} keeps state beside the memory; its streams "
            "cannot be saved"
        )
    state = {
        "family": engine.family,
        "policy": engine.config.policy,
        "conv_history": [asdict(turn) for turn in engine.conv_history],
        "total_processed_frames": engine.total_processed_frames,
        "delay_seconds": engine._delay_seconds,
        "tokens_per_frame": engine._tokens_per_frame,
        "fresh": engine._fresh,
    }
    engine.memory.snapshot(path, {"stream": json.dumps(state)})


def load_stream(engine: AbstractHermes, path: str | Path) -> None:
    """Continue a saved stream; whatever the engine watched before is forgotten.

    Raises:
        SnapshotError: missing, damaged or foreign file, or a stream of another family or policy.
            The engine is unchanged if the file cannot be read.
    """
    metadata = engine.memory.restore(path)
    try:
        state = json.loads(metadata["stream"])
        history = [Turn(**turn) for turn in state["conv_history"]]
        found = (state["family"], state["policy"])
    except (KeyError, TypeError, ValueError) as error:
        engine.clear_cache()
        raise SnapshotError(f"{path} holds a memory but no stream: {error!r}") from error
    if found != (engine.family, engine.config.policy):
        engine.clear_cache()
        raise SnapshotError(
            f"{path} is a stream of {found[0]} under the policy {found[1]!r}; this engine is "
            f"{engine.family} under {engine.config.policy!r}"
        )
    engine.conv_history = history
    engine.total_processed_frames = state["total_processed_frames"]
    engine._delay_seconds = state.get("delay_seconds", 0.0)
    engine._tokens_per_frame = state["tokens_per_frame"]
    engine._fresh = state["fresh"]
