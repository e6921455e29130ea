"""Many streams over one set of weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from efficiency.counts import take_chunk
from efficiency.measure import Settings, noise
from efficiency.paths import Path
from efficiency.question import question_of
from efficiency.spans import Spans
from inference import AbstractHermes
from inference.answers.timing import Stopwatch
from inference.vision.visual_chunk import VisualChunk

MAX_FILLING_CHUNKS = 512


def measure_streams(
    kind: type[Path],
    engine: AbstractHermes,
    counts: Sequence[int],
    settings: Settings,
    seen: VisualChunk | None = None,
) -> dict[str, dict[str, float]]:
    """Number of streams -> frames, answers and tokens per second of all of them together.

    Streams are fed and asked in turn once their memories evict: `advance` and `ask_all` are where
    streams that advance together would come in.

    Args:
        seen: features of every chunk, where vision is left out.
    """
    found = {}
    for count in counts:
        paths = [kind(engine) for _ in range(count)]
        for path in paths:
            path.seen = seen
        found[str(count)] = _measure(paths, settings)
    return found


def advance(paths: Sequence[Path], frames: Any) -> None:
    """The next chunk of every stream."""
    for path in paths:
        take_chunk(path, frames, Spans(path.device, enabled=False))


def ask_all(paths: Sequence[Path], prompt: str, max_new_tokens: int) -> None:
    """One question to every stream."""
    for path in paths:
        path.answer(prompt, max_new_tokens)


def _measure(paths: Sequence[Path], settings: Settings) -> dict[str, float]:
    frames, device = noise(settings), paths[0].device
    prompt = question_of(paths[0].engine.processor, settings.question_tokens[0])
    _fill(paths, frames, settings)
    ask_all(paths, prompt, 2)
    rounds = max(1, settings.num_questions)
    watch = Stopwatch(device)
    for number in range(rounds):
        advance(paths, frames.roll(number, dims=1))
    watching = watch.seconds()
    watch.restart()
    for _ in range(rounds):
        ask_all(paths, prompt, settings.new_tokens)
    answering, asked = watch.seconds(), rounds * len(paths)
    return {
        "frames_per_second": asked * settings.chunk_frames / watching,
        "answers_per_second": asked / answering,
        "tokens_per_second": asked * settings.new_tokens / answering,
        "memory_bytes": float(sum(path.num_bytes for path in paths)),
    }


def _fill(paths: Sequence[Path], frames: Any, settings: Settings) -> None:
    """Until something is evicted, or so far as the measured stream goes."""
    limit = min(MAX_FILLING_CHUNKS, settings.frames[-1] // settings.chunk_frames)
    for number in range(limit):
        advance(paths, frames.roll(number, dims=1))
        if paths[0].kept is not None:
            return
