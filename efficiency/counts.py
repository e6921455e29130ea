"""How many operators each kind of step takes, and how much memory while it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from efficiency.operators import Operators
from efficiency.paths import Path
from efficiency.spans import Spans


class Counts(NamedTuple):
    """Of one path, in the state in which it was."""

    operators: dict[str, int]
    """Step -> operators: vision, reading, logits, scoring, compaction, question (the first after a
    chunk, with its first token), token (one more). A pass after the last token is in none."""
    working_bytes: dict[str, int]
    """Step -> the most that it held beside weights and memory; what is nested in `reading` and
    `make_room` counts there."""


def count_steps(path: Path, frames: Any, prompt: str) -> Counts:
    """Count one chunk, one question and one further token.

    Args:
        frames: a chunk.
        prompt: of the question; asked three times.
    """
    seen: list[Any] = []
    steps: dict[str, Callable[[Spans], object]] = {
        "vision": lambda spans: seen.append(path.see(frames)),
        "reading": lambda spans: path.read(seen[0], frames, spans),
        "make_room": path.make_room,
        "question": lambda spans: path.answer(prompt, 1),
        "repeated": lambda spans: path.answer(prompt, 1),
        "longer": lambda spans: path.answer(prompt, 3),
    }
    counts: dict[str, int] = {}
    working: dict[str, int] = {}
    for name, run in steps.items():
        mode = Operators()
        spans = Spans(path.device, mode)
        with mode, spans.part(name):
            run(spans)
        counts |= spans.counts
        working[name] = mode.peak_bytes
    token = (counts["longer"] - counts["repeated"]) // 2
    question = counts["question"] - token * path.feeds_last_token
    held = {name: working[name] for name in ("vision", "reading", "make_room", "question")}
    return Counts(parts_of(counts) | {"question": question, "token": token}, held)


def take_chunk(path: Path, frames: Any, spans: Spans) -> int:
    """One chunk, from pixels to a memory within its budget; the number of its tokens."""
    with spans.part("vision"):
        chunk = path.see(frames)
    with spans.part("reading"):
        path.read(chunk, frames, spans)
    with spans.part("make_room"):
        path.make_room(spans)
    return len(chunk.features)


def parts_of(spans: Mapping[str, Any]) -> dict[str, Any]:
    """Nested parts taken apart: vision, reading, logits, scoring, compaction; they add up."""
    logits, scoring = spans.get("logits", 0), spans.get("scoring", 0)
    return {
        "vision": spans["vision"],
        "reading": spans["reading"] - logits,
        "logits": logits,
        "scoring": scoring,
        "compaction": spans["make_room"] - scoring,
    }
