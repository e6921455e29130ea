"""No figure of a path that computes something else than the plain loop.

Decided on a small model of the same kind on the same device, whose attention is far from uniform:
in fp32 the same tokens kept in every layer and the same answers; in the dtype that is measured,
logits of a forced answer at most twice as far from fp32 as the plain loop's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from efficiency.paths import Path, PlainPath
from efficiency.spans import Spans
from inference import AbstractHermes

TOLERANCE = 1e-3
"""fp32, relative to the largest logit: keys are rotated once, or at every use."""
QUESTION = "\nWhat is happening now?<|im_end|><|im_start|>assistant\n"
NEW_TOKENS = 12


@dataclass(frozen=True)
class SmallStream:
    """What both paths watch."""

    chunks: list[Any]
    """Frames, chunk by chunk; more than fits the budget of the engine."""
    wide: AbstractHermes
    """In fp32, with that budget."""
    narrow: AbstractHermes | None
    """In the dtype that is measured; None if that is fp32."""


def objection(kind: type[Path], stream: SmallStream) -> str | None:
    """Why no figure of this path may be reported; None if it computes what it should."""
    if kind is PlainPath:
        return None
    plain = _plain(kind, stream.wide)
    return _tokens_differ(kind(stream.wide), plain, stream) or _errs(kind, stream)


def _plain(kind: type[Path], engine: AbstractHermes) -> Path:
    """The loop of the engine under the policy that the path carries out."""
    return PlainPath(engine if kind.policy is None else engine.new_stream(policy=kind.policy))


def _tokens_differ(path: Path, plain: Path, stream: SmallStream) -> str | None:
    for number, frames in enumerate(stream.chunks):
        for each in (path, plain):
            _watch(each, frames)
        if path.kept != plain.kept:
            return f"chunk {number + 1}: other tokens are kept than by the plain loop"
    mine, theirs = (each.answer(QUESTION, NEW_TOKENS).text for each in (path, plain))
    if mine != theirs:
        return f"the answer is {mine!r}, the plain loop's is {theirs!r}"
    tokens = _forced(stream.wide)
    reference = plain.forced_logits(QUESTION, tokens)
    error = _error(path.forced_logits(QUESTION, tokens), reference)
    limit = TOLERANCE * float(reference.abs().max())
    return f"logits differ by {error:.2g} in fp32 (limit {limit:.2g})" if error > limit else None


def _errs(kind: type[Path], stream: SmallStream) -> str | None:
    """Within the budget: which tokens are kept may hang on the last bit of a score."""
    if stream.narrow is None:
        return None
    tokens = _forced(stream.wide)
    reference = _after_one_chunk(_plain(kind, stream.wide), stream, tokens)
    plain = _error(_after_one_chunk(_plain(kind, stream.narrow), stream, tokens), reference)
    error = _error(_after_one_chunk(kind(stream.narrow), stream, tokens), reference)
    if error <= 2 * plain:
        return None
    name = str(stream.narrow.dtype).removeprefix("torch.")
    return f"logits in {name} err by {error:.2g} against fp32, the plain loop by {plain:.2g}"


def _after_one_chunk(path: Path, stream: SmallStream, tokens: list[int]) -> Tensor:
    path.restart()
    _watch(path, stream.chunks[0])
    return path.forced_logits(QUESTION, tokens)


def _watch(path: Path, frames: Any) -> None:
    spans = Spans(path.device, enabled=False)
    path.read(path.see(frames), frames, spans)
    path.make_room(spans)


def _forced(engine: AbstractHermes) -> list[int]:
    """Any answer will do."""
    generator = torch.Generator().manual_seed(0)
    size = (NEW_TOKENS,)
    return torch.randint(engine.text_config.vocab_size, size, generator=generator).tolist()


def _error(left: Tensor, right: Tensor) -> float:
    return float((left.double().cpu() - right.double().cpu()).abs().max())
