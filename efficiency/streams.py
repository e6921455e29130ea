"""Many streams over one set of weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from efficiency.measure import Settings, noise
from efficiency.question import question_of
from inference import AbstractHermes, answer_together, encode_together
from inference.answers.timing import Stopwatch
from inference.vision.visual_chunk import VisualChunk

MAX_FILLING_CHUNKS = 512


def measure_streams(
    engine: AbstractHermes,
    counts: Sequence[int],
    settings: Settings,
    seen: VisualChunk | None = None,
) -> dict[str, dict[str, float]]:
    """Number of streams -> frames, answers and tokens per second of all of them together.

    Streams on the weights of `engine` are fed and asked in batches once their memories evict.

    Args:
        seen: features of every chunk, where vision is left out.
    """
    return {str(count): _measure(engine.new_streams(count), settings, seen) for count in counts}


def advance(streams: Sequence[AbstractHermes], frames: Any, seen: VisualChunk | None) -> None:
    """The next chunk of every stream."""
    encode_together(streams, [frames] * len(streams), seen=[seen] * len(streams))
    for stream in streams:
        stream.predict_and_compress()


def ask_all(streams: Sequence[AbstractHermes], prompt: str, max_new_tokens: int) -> None:
    """One question to every stream."""
    asked = {"question": prompt, "prompt": prompt}
    answer_together(streams, [asked] * len(streams), max_new_tokens)
    for stream in streams:
        stream.conv_history.clear()


def _measure(
    streams: Sequence[AbstractHermes], settings: Settings, seen: VisualChunk | None
) -> dict[str, float]:
    frames, first = noise(settings), streams[0]
    prompt = question_of(first.processor, settings.question_tokens[0])
    _fill(streams, frames, settings, seen)
    ask_all(streams, prompt, 2)
    rounds = max(1, settings.num_questions)
    watch = Stopwatch(first.device)
    for number in range(rounds):
        advance(streams, frames.roll(number, dims=1), seen)
    watching = watch.seconds()
    watch.restart()
    for _ in range(rounds):
        ask_all(streams, prompt, settings.new_tokens)
    answering, asked = watch.seconds(), rounds * len(streams)
    num_bytes = sum(stream.memory.num_bytes + stream.kept.num_bytes for stream in streams)
    return {
        "frames_per_second": asked * settings.chunk_frames / watching,
        "answers_per_second": asked / answering,
        "tokens_per_second": asked * settings.new_tokens / answering,
        "memory_bytes": float(num_bytes),
    }


def _fill(
    streams: Sequence[AbstractHermes], frames: Any, settings: Settings, seen: VisualChunk | None
) -> None:
    """Until something is evicted, or so far as the measured stream goes."""
    limit = min(MAX_FILLING_CHUNKS, settings.frames[-1] // settings.chunk_frames)
    for number in range(limit):
        advance(streams, frames.roll(number, dims=1), seen)
        if streams[0].last_compression.kept is not None:
            return
