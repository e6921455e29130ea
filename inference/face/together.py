"""One question for each of several streams, answered in one batch."""

from __future__ import annotations

from collections.abc import Sequence

from inference.answers.multiple_choice import CHOICE_TOKENS, OPEN_TOKENS
from inference.face.answer import Answer, request_for
from inference.face.stream import Stream
from inference.together.answering import answer_together


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
