"""Save a stream to a safetensors file and continue it later, on another device if need be.

Shapes: l layers, g key heads, n tokens in use, d head width, a position axes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from hermes.config import MemoryConfig
from hermes.memory import StreamMemory
from hermes.saved.checked_file import CheckedFile, SnapshotError, read, write
from hermes.store.integrity import MemoryIntegrityError
from hermes.store.layer_stack import LayerStack
from hermes.store.ledger import Ledger, Size, frames_of
from hermes.store.provenance import NO_PATCH, Provenance, ProvenanceBuffers
from hermes.store.storage import STORAGES

_STATES = ("keys", "values")
_NAMES = ("positions", "next_position", *ProvenanceBuffers.NAMES)
_COUNTS = ("num_prefix", "num_tokens", "position_bound")
_LEDGER, _KV_DTYPE = "ledger", "kv_dtype"


class Counts(NamedTuple):
    """Host numbers of a memory."""

    num_prefix: int
    num_tokens: list[int]
    """Of each layer."""
    position_bound: float

    @classmethod
    def of(cls, memory: StreamMemory) -> Counts:
        """As they stand."""
        return cls(memory.num_prefix, _num_tokens(memory), float(memory.position_bound))


def save(
    memory: StreamMemory,
    path: str | Path,
    metadata: Mapping[str, str] | None = None,
    beside: Mapping[str, Tensor] | None = None,
) -> None:
    """Write the tokens in use: keys, values (l, g, n, d), positions (l, a, n), provenance (l, n).

    Keys and values are written as they are stored: of a memory in eight bits levels and scales.
    Where bands of layers hold different numbers of tokens, n is the largest of them.

    The file appears under its name only when it is complete.

    Args:
        metadata: texts to keep with the stream (dialogue history, configuration).
        beside: contiguous host tensors to keep with it, under other names than the above.
    """
    prefix, tokens, bound = Counts.of(memory)
    alike = str(tokens[0]) if len(set(tokens)) == 1 else " ".join(map(str, tokens))
    counts = dict(zip(_COUNTS, (str(prefix), alike, str(bound)), strict=True))
    own = {_LEDGER: memory.ledger.to_json(), _KV_DTYPE: memory.kv_dtype}
    texts = {**(metadata or {}), **counts, **own}
    write(path, {**(beside or {}), **_tensors(memory)}, texts)


def load(memory: StreamMemory, path: str | Path) -> dict[str, str]:
    """Replace the content of `memory` by a snapshot's. Returns the metadata given to `save`.

    Raises:
        SnapshotError: missing, damaged or foreign file, a model of another shape, or a file with
            more in it than a memory. The memory is unchanged then.
    """
    file = read(path)
    held = check(file, memory)
    if more := sorted(set(file.tensors) - set(_names(memory.kv_dtype))):
        raise SnapshotError(f"{path} holds more than a memory: {', '.join(more)}")
    fill(memory, held)
    return others(file)


def others(file: CheckedFile) -> dict[str, str]:
    """The metadata given to `save`."""
    own = (*_COUNTS, _LEDGER, _KV_DTYPE)
    return {name: text for name, text in file.texts.items() if name not in own}


def beside(file: CheckedFile) -> dict[str, Tensor]:
    """The tensors given to `save` beside the memory."""
    names = _names(_kv_dtype(file))
    return {name: tensor for name, tensor in file.tensors.items() if name not in names}


def check(file: CheckedFile, like: StreamMemory, max_positions: int | None = None) -> StreamMemory:
    """The memory in a file, in host memory, with every contract verified.

    Args:
        like: a memory of the model that shall continue; its dtype may be another one.
        max_positions: the model's position limit.

    Raises:
        SnapshotError: something is missing, of another shape or kind, not finite in the dtype of
            `like`, or breaks a contract of the memory; the message names it.
    """
    counts = _counts(file, like)
    _check_form(file, like, max(counts.num_tokens))
    held = like.sibling(counts.num_tokens, torch.device("cpu"))
    _write(held, file.tensors, counts)
    try:
        held.check_integrity(max_positions)
    except MemoryIntegrityError as error:
        raise SnapshotError(f"{file.path} breaks a contract of the memory: {error}") from error
    held.ledger = _ledger(file, held)
    if max_positions is not None and held.position_bound > max_positions:
        raise SnapshotError(
            f"{file.path}: position_bound is {held.position_bound:g}, the model ends at "
            f"{max_positions}"
        )
    return held


def fill(memory: StreamMemory, held: StreamMemory) -> None:
    """Replace the content of `memory` by that of `held`, which `check` has returned."""
    counts = Counts.of(held)
    memory.clear()
    for stack in memory.stacks:
        if (needed := counts.num_tokens[stack.layers.start]) > stack.capacity:
            stack.grow(needed)
    _write(memory, _tensors(held), counts)
    memory.ledger = held.ledger


def _tensors(memory: StreamMemory) -> dict[str, Tensor]:
    used = memory.num_tokens
    held = [_parts(stack, stack.num_tokens) for stack in memory.stacks]
    tensors = {
        name: torch.cat([_padded(parts[name], used) for parts in held])
        for name in _state_names(memory.kv_dtype)
    }
    tensors["positions"] = memory.positions[..., :used].cpu().contiguous()
    tensors["next_position"] = memory.next_position.cpu()
    for name in memory.provenance.NAMES:
        tensors[name] = getattr(memory.provenance, name)[:, :used].cpu().contiguous()
    return tensors


def _state_names(kv_dtype: str) -> list[str]:
    """Names of the tensors that keys and values are stored in."""
    return [name + part for name in _STATES for part in STORAGES[kv_dtype]().part_names]


def _names(kv_dtype: str) -> list[str]:
    return [*_state_names(kv_dtype), *_NAMES]


def _kv_dtype(file: CheckedFile) -> str:
    """Versions that did not write it knew one alone."""
    found = file.texts.get(_KV_DTYPE, MemoryConfig.kv_dtype)
    if found not in STORAGES:
        raise SnapshotError(f"{file.path} has the kv_dtype {found!r}; known: {', '.join(STORAGES)}")
    return found


def _parts(stack: LayerStack, used: int) -> dict[str, Tensor]:
    """What the first keys and values are stored in; views (l, g, used, ...)."""
    return {
        name + suffix: part[:, :, :used]
        for name in _STATES
        for suffix, part in zip(stack.storage.part_names, stack.parts(name), strict=True)
    }


def _padded(part: Tensor, used: int) -> Tensor:
    """(l, g, used, ...) in host memory, zero where the stack holds less."""
    return pad(part.cpu(), (0, 0, 0, used - part.shape[2]))


def _num_tokens(memory: StreamMemory) -> list[int]:
    return [memory.place_of(layer)[0].num_tokens for layer in range(memory.num_layers)]


def _counts(file: CheckedFile, like: StreamMemory) -> Counts:
    """One number of tokens stands for all layers."""
    try:
        prefix, tokens, bound = (file.texts[name] for name in _COUNTS)
        numbers = [int(number) for number in tokens.split()]
        numbers = numbers * like.num_layers if len(numbers) == 1 else numbers
        counts = Counts(int(prefix), numbers, float(bound))
    except (KeyError, ValueError) as error:
        raise SnapshotError(
            f"{file.path}: expected the numbers {', '.join(_COUNTS)} in its metadata: {error!r}"
        ) from error
    possible = len(counts.num_tokens) == like.num_layers and all(
        len({counts.num_tokens[layer] for layer in stack.layers}) == 1 for stack in like.stacks
    )
    if (
        not possible
        or not 0 <= counts.num_prefix <= min(counts.num_tokens)
        or not math.isfinite(counts.position_bound)
    ):
        raise SnapshotError(f"{file.path}: these counts cannot be: {counts._asdict()}")
    return counts


def _ledger(file: CheckedFile, held: StreamMemory) -> Ledger:
    """What the file says; files of versions without a ledger are read off layer 0."""
    if _LEDGER not in file.texts:
        return _recovered_ledger(held)
    try:
        ledger = Ledger.from_json(file.texts[_LEDGER])
    except (TypeError, ValueError) as error:
        raise SnapshotError(f"{file.path}: its list of frames is damaged: {error!r}") from error
    needed = sum(frame.num_tokens for frame in ledger.frames[1:])
    if needed > held.num_visual:
        raise SnapshotError(
            f"{file.path}: its list of frames needs {needed} tokens, {held.num_visual} are there"
        )
    return ledger


def _recovered_ledger(memory: StreamMemory) -> Ledger:
    """The newest frames of one size that layer 0 holds whole, for a memory without a ledger."""
    first, ledger = memory.stacks[0], Ledger()
    patches = first.origin.patch[0, : first.num_tokens]
    rows = (patches != NO_PATCH).nonzero().flatten()
    rows = rows[(rows >= first.num_prefix) & (first.origin.frame[0, rows] >= 0)]
    if not len(rows):
        return ledger
    origin = Provenance(first.origin.frame[0, rows], first.origin.seconds[0, rows], patches[rows])
    found = frames_of(origin, first_slot=int(rows[0]))
    length = found[-1].num_tokens
    size = _size_of(first.positions[0, :, rows[-length:]])
    while found and found[-1].num_tokens == length:
        ledger.frames.insert(0, replace(found.pop(), size=size))
    return ledger


def _size_of(positions: Tensor) -> Size:
    """Of a frame whose tokens have these (a, t) positions: from their rows, or square."""
    length = positions.shape[1]
    rows = round(length**0.5)
    if len(positions) == 3:
        rows = int(positions[1].max() - positions[1].min()) + 1
    return (rows, length // rows) if length % rows == 0 else (1, length)


def _check_form(file: CheckedFile, like: StreamMemory, used: int) -> None:
    """Names, shapes and dtypes; keys and values may be of any floating dtype."""
    kv_dtype = _kv_dtype(file)
    if missing := sorted(set(_names(kv_dtype)) - set(file.tensors)):
        raise SnapshotError(f"{file.path} is not a snapshot of a stream: no {', '.join(missing)}")
    if kv_dtype != like.kv_dtype:
        raise SnapshotError(
            f"{file.path} was saved with kv_dtype={kv_dtype!r}, this memory has "
            f"kv_dtype={like.kv_dtype!r}: open the stream with kv_dtype={kv_dtype!r}"
        )
    _check_model(file, like)
    for name, expected in _tensors_of(like, used).items():
        found = file.tensors[name]
        if found.shape != expected.shape:
            raise SnapshotError(
                f"{file.path}: {name} has the shape {tuple(found.shape)}, expected "
                f"{tuple(expected.shape)} for {used} tokens"
            )
        floats = found.is_floating_point() and expected.is_floating_point()
        if found.dtype != expected.dtype and not (name in _STATES and floats):
            raise SnapshotError(
                f"{file.path}: {name} is {found.dtype}, this model has {expected.dtype}"
            )


def _check_model(file: CheckedFile, like: StreamMemory) -> None:
    keys, positions = (file.tensors[name].shape for name in ("keys", "positions"))
    _, heads, _, width = like.stacks[0].keys.shape
    expected = (like.num_layers, heads, width, like.positions.shape[1])
    found = (*keys[:2], *keys[3:], *positions[1:2])
    if found != expected:
        raise SnapshotError(
            f"{file.path} is of another model: (layers, key heads, head width, position axes) are "
            f"{found}, this model has {expected}"
        )


def _tensors_of(like: StreamMemory, used: int) -> dict[str, Tensor]:
    """Shapes and dtypes that so many tokens of this model have; nothing is allocated."""
    stack, layers = like.stacks[0], like.num_layers
    shape = (layers, stack.keys.shape[1], used, stack.keys.shape[3])
    states = like.storage.new(shape, stack.keys.dtype, torch.device("meta"))
    parts = like.storage.parts(states) * len(_STATES)
    positions = torch.empty(
        (layers, stack.positions.shape[1], used), dtype=stack.positions.dtype, device="meta"
    )
    origin = {
        name: getattr(stack.origin, name).new_empty((layers, used), device="meta")
        for name in ProvenanceBuffers.NAMES
    }
    following = positions[:, 0, :1].new_empty(layers)
    own = dict(zip(_state_names(like.kv_dtype), parts, strict=True))
    return {**own, "positions": positions, **origin, "next_position": following}


def _write(memory: StreamMemory, tensors: Mapping[str, Tensor], counts: Counts) -> None:
    for stack in memory.stacks:
        rows = slice(stack.layers.start, stack.layers.stop)
        used = counts.num_tokens[rows.start]
        for name, part in _parts(stack, used).items():
            part.copy_(tensors[name][rows, :, :used])
        stack.positions[..., :used] = tensors["positions"][rows, :, :used]
        stack.next_position.copy_(tensors["next_position"][rows])
        for name in ProvenanceBuffers.NAMES:
            getattr(stack.origin, name)[:, :used] = tensors[name][rows, :used]
    memory.hold(counts.num_prefix, counts.num_tokens)
    memory.has_frame_text = bool((tensors["patch"] == NO_PATCH).any())
    memory.position_bound = counts.position_bound
