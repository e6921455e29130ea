"""One path while it is measured: what its chunks and answers took."""

from __future__ import annotations

import statistics
from collections import defaultdict
from typing import Any, NamedTuple

import torch

from efficiency.counts import Counts, count_steps, parts_of, take_chunk
from efficiency.paths import Path
from efficiency.spans import Spans, quantiles
from inference.answers.timing import Stopwatch


class ChunkParts(NamedTuple):
    """A chunk that was timed part by part."""

    seconds: dict[str, float]
    num_before: int
    """Tokens in memory before it."""
    evicted: bool


class Lane:
    """A path and its samples."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.parts: list[ChunkParts] = []
        self.wholes: list[float] = []
        self.evicting_wholes: list[float] = []
        self.at: dict[int, dict[str, Any]] = {}
        """Frames watched -> what was measured there."""
        self.counts: Counts | None = None
        self.stopped: str | None = None
        """Why it did not go on to the end: the device is too small."""
        self.failed: str | None = None
        """What broke in it; it goes no further."""
        self.working_bytes = 0
        """By the allocator of a GPU."""
        self.tokens_per_chunk = 0
        self.num_frames, self._seconds = 0, 0.0
        self._asked: dict[str, list[float]] = defaultdict(list)

    def warm_up(self, frames: Any, prompt: str) -> None:
        """One chunk and one answer, forgotten."""
        spans = Spans(self.path.device, enabled=False)
        self.tokens_per_chunk = take_chunk(self.path, frames, spans)
        self.path.answer(prompt, 2)
        self.path.restart()

    def watch(self, frames: Any, *, in_parts: bool) -> None:
        """A chunk, timed as a whole or part by part."""
        path, before, held = self.path, self.path.num_tokens, self._before_peak()
        spans = Spans(path.device, enabled=in_parts)
        watch = Stopwatch(path.device)
        take_chunk(path, frames, spans)
        seconds = watch.seconds()
        if in_parts:
            self.parts.append(ChunkParts(parts_of(spans.seconds), before, path.kept is not None))
        else:
            self.wholes.append(seconds)
            if path.kept is not None:
                self.evicting_wholes.append(seconds)
        self._note_peak(held)
        self.num_frames += len(frames)
        self._seconds += seconds

    def ask(self, prompt: str, label: str, max_new_tokens: int, *, warm: bool) -> None:
        """A question at this point of the stream; a warm-up is not noted."""
        held = self._before_peak()
        answered = self.path.answer(prompt, max_new_tokens)
        self._note_peak(held)
        if warm:
            return
        self._asked[f"ttft_{label}"].append(answered.first_token_seconds)
        if answered.per_token_seconds is not None:
            self._asked["tpot"].append(answered.per_token_seconds)

    def note(self) -> None:
        """Close this point of the stream."""
        self.at[self.num_frames] = {
            "frames_per_second": self.num_frames / self._seconds,
            "memory_bytes": self.path.num_bytes,
            "tokens_per_layer": self.path.num_tokens,
            **{name: quantiles(samples) for name, samples in self._asked.items()},
        }
        self._asked.clear()

    def count(self, frames: Any, prompt: str) -> None:
        """Operators and memory of one more chunk and of answers."""
        self.counts = count_steps(self.path, frames, prompt)

    @property
    def is_over(self) -> bool:
        """Whether it stopped or failed; what it has measured stays."""
        return bool(self.stopped or self.failed)

    @property
    def steady(self) -> list[ChunkParts]:
        """Chunks that evicted; all of them where none did."""
        return [each for each in self.parts if each.evicted] or self.parts

    def step_seconds(self) -> dict[str, dict[str, float] | None]:
        """Part of a chunk -> quantiles; `chunk` is whole chunks."""
        names = self.parts[0].seconds if self.parts else {}
        steps = {name: quantiles([each.seconds[name] for each in self.steady]) for name in names}
        return {**steps, "chunk": quantiles(self.evicting_wholes or self.wholes)}

    def median(self, name: str) -> float:
        """Of a part, over steady chunks."""
        return statistics.median(each.seconds[name] for each in self.steady)

    def _before_peak(self) -> int:
        device = self.path.device
        if device.type != "cuda":
            return 0
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)

    def _note_peak(self, held: int) -> None:
        device = self.path.device
        if device.type == "cuda":
            taken = torch.cuda.max_memory_allocated(device) - held
            self.working_bytes = max(self.working_bytes, taken)
