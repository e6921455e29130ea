"""A stream in a file: the memory, the dialogue and the count of frames; continue it days later."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from hermes import Policy, SnapshotError, StreamMemory, make_policy
from hermes.policy_parts.state import PolicyState
from hermes.saved.checked_file import CheckedFile, read
from hermes.saved.snapshot import beside, check, fill, save
from inference.kept.kept import Kept
from inference.kept.registry import kept_of
from inference.saved.progress import Progress
from inference.saved.settings import differences, settings_of

if TYPE_CHECKING:
    from inference.abstract_hermes import AbstractHermes

logger = logging.getLogger(__name__)

_POLICY = "policy."
"""How the names of tensors of a policy's state begin."""

_FIRST_SETTINGS = ("family", "policy")
"""All that 0.1.0 wrote about an engine."""


def save_stream(engine: AbstractHermes, path: str | Path) -> None:
    """Write everything that a continued stream needs (safetensors; complete or not there at all):
    memory, dialogue, progress, the policy's state, the engine's settings, a digest of its weights,
    and a checksum.

    Raises:
        SnapshotError: a policy keeps state of its own beside the memory and does not say which.
        RuntimeError: an answer is still being streamed.
    """
    engine._answering.refuse_interruption()
    kind = type(engine.policy)
    if kind.reset is not Policy.reset and kind.state is Policy.state:
        raise SnapshotError(
            f"the policy {engine.config.policy!r} keeps state beside the memory but does not say "
            "which: its streams cannot be saved until it has a state() and a load_state()"
        )
    stream = {"settings": settings_of(engine), **Progress.of(engine).to_json()}
    tensors, plain = _parted(engine.kept.state())
    texts = {"stream": json.dumps(stream), "policy": json.dumps(plain)}
    save(engine.memory, path, texts, tensors)


def load_stream(engine: AbstractHermes, path: str | Path) -> None:
    """Continue a saved stream; whatever the engine watched before is forgotten.

    Everything is checked before the engine is touched; a file that is refused leaves it as it was.
    Only the dtype may be another one, if all keys and values are finite in it. A file written by
    0.1.0 holds neither a checksum nor any setting but family and policy: it is continued, the rest
    is checked, and a warning says what could not be.

    Raises:
        SnapshotError: missing, damaged, altered or foreign file, or a stream of other weights or
            settings; the message says what differs.
        RuntimeError: an answer is still being streamed.
    """
    engine._answering.refuse_interruption()
    file = read(path)
    state = _stream(file)
    _refuse_other_settings(file, state.pop("settings"), engine)
    progress = _progress(file, state)
    held = check(file, engine.memory, engine.max_positions)
    _check_frames(file, held, progress, engine)
    kept = _with_state(file, held, engine)
    engine.clear_cache()
    fill(engine.memory, held)
    engine.policy, engine.kept = kept.policy, kept
    progress.give(engine)


def _parted(state: PolicyState) -> tuple[dict[str, Tensor], PolicyState]:
    """Tensors, in host memory and under the names they have in the file, and the rest."""
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    plain = {name: value for name, value in state.items() if name not in tensors}
    named = {_POLICY + name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    return named, plain


def _with_state(file: CheckedFile, held: StreamMemory, engine: AbstractHermes) -> Kept:
    """What another stream would keep under this policy, with the state in the file."""
    tensors = beside(file)
    if unknown := sorted(name for name in tensors if not name.startswith(_POLICY)):
        raise SnapshotError(f"{file.path} holds more than its stream needs: {', '.join(unknown)}")
    kept = kept_of(engine, make_policy(engine.config, engine.policy.layout.num_layers))
    try:
        state = json.loads(file.texts.get("policy", "{}"))
        state |= {name.removeprefix(_POLICY): tensor for name, tensor in tensors.items()}
        kept.load_state(state, held)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise SnapshotError(
            f"{file.path}: the state of the policy {engine.config.policy!r} is missing or damaged: "
            f"{error!r}"
        ) from error
    return kept


def _stream(file: CheckedFile) -> dict[str, Any]:
    """What the file says of its stream; in version 1 settings stand among the progress."""
    try:
        state = json.loads(file.texts["stream"])
        if not file.has_checksum:
            state["settings"] = {name: state.pop(name) for name in _FIRST_SETTINGS}
        if not isinstance(state["settings"], dict):
            raise TypeError(f"settings are {state['settings']!r}")
    except (KeyError, TypeError, ValueError) as error:
        raise SnapshotError(f"{file.path} holds a memory but no stream: {error!r}") from error
    return state


def _progress(file: CheckedFile, state: dict[str, Any]) -> Progress:
    try:
        return Progress.from_json(state)
    except (KeyError, TypeError, ValueError) as error:
        raise SnapshotError(f"{file.path}: the stream's progress is damaged: {error}") from error


def _refuse_other_settings(
    file: CheckedFile, saved: dict[str, Any], engine: AbstractHermes
) -> None:
    ours = settings_of(engine)
    if not file.has_checksum:
        ours = {"family": ours["family"], "policy": ours["config"]["policy"]}
    if found := differences(saved, ours):
        raise SnapshotError(
            f"{file.path} is a stream of another engine: {'; '.join(found)}. Open the stream with "
            "what the file says"
        )
    if not file.has_checksum:
        logger.warning(
            "%s was written by 0.1.0: whether weights, frame rate and configuration are the same, "
            "and whether the file was altered, cannot be checked",
            file.path,
        )


def _check_frames(
    file: CheckedFile, held: StreamMemory, progress: Progress, engine: AbstractHermes
) -> None:
    """Whether the memory can be that of a stream that has come so far."""
    prefix = len(engine.processor.encode(engine.init_prompt)) if held.num_tokens else 0
    if held.num_prefix != prefix:
        raise SnapshotError(
            f"{file.path} protects {held.num_prefix} tokens; this engine's prompt has {prefix}"
        )
    newest = int(held.provenance.frame[:, : held.num_tokens].max()) if held.num_tokens else -1
    newest = max([newest, *(frame.number for frame in held.ledger.frames)])
    if newest >= progress.total_processed_frames:
        raise SnapshotError(
            f"{file.path} remembers frame number {newest} of a stream of "
            f"{progress.total_processed_frames} frames"
        )
