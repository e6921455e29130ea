"""What each memory costs, all of them measured in one session, so that figures can be compared.

A machine is not as fast at noon as at one, least of all beside other work. So every memory watches
once per round, and every second round is the one before it backwards: what changes steadily from
the first round to the last hits all memories alike, and the median over rounds takes out what
passes. Pairs of rounds start at different memories, so that none is always the first one.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from tqdm import tqdm

from reproduction.degrees.costs.measured import Costs, CostsError, Measured, Run
from reproduction.degrees.costs.one_stream import Watched, costs_of_run, vision_seconds
from video_qa.questions.annotation_file import load_annotations
from video_qa.questions.benchmarks import DATASETS
from video_qa.settings.model_registry import load_engine
from video_qa.settings.run_settings import RunSettings

DATASET = DATASETS["nanostream"]
ROUNDS = 10
"""In pairs, an odd number of them: the median lies between the two rounds of the middle pair."""
MOST_QUESTIONS = 40
"""Asked about the stream, evenly spread over it."""


def measure(runs: Sequence[Run], anno_path: Path) -> Measured:
    """Costs of memories on the first stream of an annotation file, at 1 fps, on one CPU thread.

    A memory that cannot serve the model is named among the refused.

    Raises:
        CostsError: the streams are not there.
    """
    began, watched = datetime.now(UTC), _watched(anno_path)
    settings = RunSettings("nano", 64, 1.0, streaming=DATASET.streaming or False, policy="recent")
    vision: list[float] = []
    with one_thread():
        encoder = load_engine(settings, "cpu")

        def watch(run: Run) -> Costs | None:
            if run == runs[0]:  # once a round
                vision.append(vision_seconds(encoder, watched, settings.chunk_frames))
            return costs_of_run(encoder, replace(settings, policy=run[0], kv_size=run[1]), watched)

        costs_of_run(encoder, settings, watched)  # warm
        seconds, cpu_seconds = time.perf_counter(), time.process_time()
        costs = in_rounds(runs, watch, ROUNDS)
        seconds, cpu_seconds = time.perf_counter() - seconds, time.process_time() - cpu_seconds
    return Measured(
        machine=f"{platform.machine()}, {os.cpu_count()} cores",
        measured_at=began.isoformat(timespec="seconds"),
        num_rounds=ROUNDS,
        cpu_share=round(min(1.0, cpu_seconds / seconds), 3),
        num_frames=len(watched.frames),
        num_questions=len(watched.stops),
        vision_seconds_per_frame=median(vision) / len(watched.frames),
        refused=tuple(run for run in runs if run not in costs),
        costs=costs,
    )


def in_rounds(
    runs: Sequence[Run], watch: Callable[[Run], Costs | None], num_rounds: int
) -> dict[Run, Costs]:
    """Let each memory watch once per round; medians over rounds, without those that `watch` finds
    unable to serve the model. Shows a bar."""
    found: dict[Run, list[Costs]] = {run: [] for run in runs}
    with tqdm(desc="Costs, in turns", total=num_rounds * len(runs), unit="stream") as bar:
        for order in round_orders(runs, num_rounds):
            for run in order:
                if (costs := watch(run)) is not None:
                    found[run].append(costs)
                bar.update()
    return {run: _median(costs) for run, costs in found.items() if costs}


def round_orders(runs: Sequence[Run], num_rounds: int) -> Iterator[list[Run]]:
    """The order of each round: forwards, the same backwards, forwards from another memory on."""
    num_pairs = -(-num_rounds // 2)
    for number in range(num_rounds):
        start = number // 2 * len(runs) // num_pairs
        order = [*runs[start:], *runs[:start]]
        yield order[::-1] if number % 2 else order


@contextmanager
def one_thread() -> Iterator[None]:
    """As a worker has it where there are as many workers as cores; one waits for no other core."""
    import torch  # slow to import, and most commands measure nothing

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _watched(anno_path: Path) -> Watched:
    if not anno_path.exists():
        raise CostsError(
            f"costs are measured on the first stream of {anno_path}, which is not there; "
            "write the streams first: --only_streams"
        )
    video = load_annotations(anno_path, DATASET.kind)[0]
    step = -(-len(video.questions) // MOST_QUESTIONS)
    return Watched(replace(video, questions=video.questions[::-step][::-1]), 1.0)


def _median(rounds: Sequence[Costs]) -> Costs:
    """One memory: what is in seconds is the median over rounds; what is by round, all of it."""
    names = [field.name for field in fields(Costs) if "seconds" in field.name]
    return replace(
        rounds[0], **{name: _over_rounds([getattr(one, name) for one in rounds]) for name in names}
    )


def _over_rounds(values: Sequence[Any]) -> Any:
    return sum(values, ()) if isinstance(values[0], tuple) else median(values)
