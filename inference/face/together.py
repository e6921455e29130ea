"""Several streams watched and asked at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from inference.answers.multiple_choice import CHOICE_TOKENS, OPEN_TOKENS
from inference.face.answer import Answer, request_for
from inference.face.stream import Stream
from inference.together.answering import answer_together
from inference.together.watching import encode_together, noting


def watch_together(
    streams: Sequence[Stream],
    sources: Sequence[Any],
    times_seconds: Sequence[Sequence[float] | None] | None = None,
    **video_options: Any,
) -> list[int]:
    """What `stream.watch` does with each source, chunk by chunk at once: streams on one set of
    weights are read as one batch, which uses every weight once for all of them.

    Sources may end at different times. Where one fails, what the others brought in the same round
    is watched before the error is raised. Which streams share a batch, and what an error while it
    is read leaves behind, says `inference.encode_together`.

    Args:
        streams: different ones.
        sources: one for each stream, as there.
        times_seconds: for each stream the times of the frames of an array, or None.
        video_options: as there, for all paths.

    Returns:
        Number of frames that each stream has watched in this call.

    Raises:
        ValueError: not one source for each of different streams.
        VideoError, FrameError, TypeError, ContextLimitError, DeviceMemoryError: as there; a note
            says of which stream.
    """
    times = list(times_seconds) if times_seconds is not None else [None] * len(streams)
    if not len({id(stream) for stream in streams}) == len(streams) == len(sources) == len(times):
        raise ValueError(
            f"expected one source (and its times) for each of different streams, got "
            f"{len(sources)} sources for {len(streams)} streams"
        )
    before = [stream.num_frames for stream in streams]
    with ExitStack() as opened:
        parts: dict[int, Iterator[Any]] = {}
        for number, (stream, source, own) in enumerate(zip(streams, sources, times, strict=True)):
            options = video_options if isinstance(source, str | Path) else {}
            with noting(f"of stream {number}"):
                chunks = stream._chunks(source, own, options)
            parts[number] = opened.enter_context(closing(chunks.iterator))
        while parts:
            _watch_round(streams, parts)
    return [stream.num_frames - old for stream, old in zip(streams, before, strict=True)]


def _watch_round(streams: Sequence[Stream], parts: dict[int, Iterator[Any]]) -> None:
    """The next chunk of each source; one that has no more is taken out."""
    arrived: dict[int, Any] = {}
    failures = []
    for number, part in list(parts.items()):
        try:
            with noting(f"of stream {number}"):
                arrived[number] = next(part)
        except StopIteration:
            del parts[number]
        except Exception as error:
            failures.append(error)
    engines = [stream.engine for stream in streams]
    chunks = [arrived.get(number, (None, None)) for number in range(len(streams))]
    encode_together(engines, [frames for frames, _ in chunks], [times for _, times in chunks])
    for number in arrived:
        engines[number].predict_and_compress()
    if failures:
        raise failures[0]


def ask_together(
    streams: Sequence[Stream],
    questions: Sequence[str],
    options: Sequence[Sequence[str] | None] | None = None,
    *,
    max_new_tokens: int | None = None,
    temperature: float = 0,
    repetition_penalty: float = 1.1,
    seed: int | None = None,
) -> list[Answer]:
    """What `stream.ask` says of each question; streams of one `Stream.new_streams` decode as one
    batch, which reads every weight once for all of them.

    Args:
        streams: different ones, each of which has watched something.
        questions: one for each stream.
        options: for each stream a list of texts, or None for an open question.
        max_new_tokens: default 256, 16 if every question has options.

    Raises:
        RuntimeError: a stream has watched nothing yet.
        TypeError, ValueError: as `Stream.ask` and `answer_together`.
    """
    choices = list(options) if options is not None else [None] * len(questions)
    if len(choices) != len(questions):
        raise ValueError(f"got options for {len(choices)} of {len(questions)} questions")
    if any(not stream.num_frames for stream in streams):
        raise RuntimeError("a stream has watched nothing yet; call watch(frames or a path) first")
    requests = [request_for(*pair) for pair in zip(questions, choices, strict=True)]
    if max_new_tokens is None:
        max_new_tokens = OPEN_TOKENS if None in choices else CHOICE_TOKENS
    texts = answer_together(
        [stream.engine for stream in streams],
        requests,
        max_new_tokens,
        temperature,
        repetition_penalty,
        seed,
    )
    return [Answer(*pair) for pair in zip(texts, choices, strict=True)]
