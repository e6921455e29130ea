"""What each memory costs, alone: nothing is shared with another one, every frame is encoded anew.

One stream is watched as a run watches it (chunks end where a question is due), one memory after the
other in one process, and all of that three times, of which times are the median: what else the
machine does then disturbs all memories alike. Seconds of ingest are those of a frame's
way through tower, decoder and compression; decoding the video is not part of them.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from eval.run_costs import PERCENTILES
from eval.whole_file import write_text
from video import open_video
from video_qa.hermes_vqa import HermesVQA
from video_qa.questions.annotation_file import load_annotations
from video_qa.questions.annotations import Video
from video_qa.questions.benchmarks import DATASETS
from video_qa.questions.question_times import last_stop_index, stop_index
from video_qa.settings.model_registry import load_engine
from video_qa.settings.policy_spec import named_fields
from video_qa.settings.run_settings import RunSettings

DATASET = DATASETS["nanostream"]
COSTS_FILE = "costs.json"
ROUNDS = 3
MOST_QUESTIONS = 40
"""Asked about the stream, evenly spread over it."""


@dataclass(frozen=True)
class Costs:
    """Of one memory at one budget. Bytes are those allocated, room for a chunk and a question
    among them; tokens are picture tokens at the end of the stream, mean over layers."""

    policy: str
    kv_size: int
    ingest_seconds_per_frame: float
    answer_seconds: float
    first_token_p50_seconds: float
    first_token_p95_seconds: float
    compression_p50_seconds: float
    tokens_per_layer: float
    memory_bytes: int
    host_bytes: int
    layers_per_frame: int
    """Of the language model, when a frame is watched."""
    works_at_question_time: bool


@dataclass(frozen=True)
class Measured:
    """All that was measured on one machine, and on how much."""

    machine: str
    num_frames: int
    num_questions: int
    vision_seconds_per_frame: float
    costs: Mapping[tuple[str, int], Costs]

    def write(self, folder: Path) -> None:
        """Store it."""
        content = asdict(self) | {"costs": [asdict(one) for one in self.costs.values()]}
        write_text(folder / COSTS_FILE, json.dumps(content, indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Measured:
        """The inverse. Raises OSError, ValueError."""
        stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        costs = [Costs(**one) for one in stored.pop("costs")]
        return cls(**stored, costs={(one.policy, one.kv_size): one for one in costs})


class Watched:
    """One stream in host memory, with its questions."""

    def __init__(self, video: Video, sample_fps: float) -> None:
        stop = last_stop_index(video, sample_fps)
        with open_video(video.video_path, sample_fps, stop_index=stop) as stream:
            chunks = list(stream.take(stop))
        self.video = video
        self.frames = np.concatenate([chunk.frames for chunk in chunks])
        self.times = [seconds for chunk in chunks for seconds in chunk.times_seconds]
        stops = [stop_index(video, question, sample_fps) for question in video.questions]
        self.stops = [len(self.frames) if one is None else one for one in stops]

    def chunks(self, first: int, last: int, largest: int) -> Iterator[tuple[Any, list[float]]]:
        """Frames [first, last) with their times, as a run cuts them."""
        for start in range(first, last, largest):
            part = slice(start, min(start + largest, last))
            yield self.frames[part], self.times[part]


def measure(runs: Sequence[tuple[str, int]], anno_path: Path) -> Measured:
    """Costs of memories (policy, budget) on the first stream of an annotation file, at 1 fps.

    A memory that cannot serve the model is left out.
    """
    video = load_annotations(anno_path, DATASET.kind)[0]
    step = -(-len(video.questions) // MOST_QUESTIONS)
    video = replace(video, questions=video.questions[::-step][::-1])
    settings = RunSettings("nano", 64, 1.0, streaming=DATASET.streaming or False, policy="recent")
    encoder, watched = load_engine(settings, "cpu"), Watched(video, 1.0)
    _of_run(encoder, settings, watched)  # warm
    vision = _seconds(lambda: [encoder.encode_features(part) for part, _ in _all(watched)])
    found: dict[tuple[str, int], list[Costs]] = {}
    for policy, kv_size in [*runs] * ROUNDS:
        own = replace(settings, policy=policy, kv_size=kv_size)
        if (costs := _of_run(encoder, own, watched)) is not None:
            found.setdefault((policy, kv_size), []).append(costs)
    count = len(watched.frames)
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    return Measured(
        machine,
        count,
        len(video.questions),
        vision / count,
        {run: _median(costs) for run, costs in found.items()},
    )


def _all(watched: Watched) -> Iterator[tuple[Any, list[float]]]:
    first = 0
    for stop in watched.stops:
        yield from watched.chunks(first, stop, 16)
        first = stop


def _median(costs: Sequence[Costs]) -> Costs:
    """The same memory several times: what is in seconds is the median."""
    seconds = [name for name in asdict(costs[0]) if "seconds" in name]
    return replace(
        costs[0], **{name: median(getattr(one, name) for one in costs) for name in seconds}
    )


def _of_run(encoder: Any, settings: RunSettings, watched: Watched) -> Costs | None:
    try:
        engine = encoder.new_stream(**named_fields(settings))
    except ValueError:
        return None
    asker = HermesVQA(engine, settings, "")
    asker.start_stream()
    ingest, answers, timings, first = 0.0, [], [], 0
    for question, stop in zip(watched.video.questions, watched.stops, strict=True):
        for frames, times in watched.chunks(first, stop, settings.chunk_frames):
            ingest += _seconds(partial(_watch, engine, frames, times))
        first = stop
        start = time.perf_counter()
        timings.append(asker.ask(question).timing)
        answers.append(time.perf_counter() - start)
    described = engine.describe()
    first_token = [timing["first_token_seconds"] for timing in timings]
    middle, late = (float(np.percentile(first_token, share)) for share in PERCENTILES)
    rows = engine.kept.frames_by_layer()
    return Costs(
        policy=settings.policy,
        kv_size=settings.kv_size,
        ingest_seconds_per_frame=ingest / len(watched.frames),
        answer_seconds=float(np.mean(answers)),
        first_token_p50_seconds=middle,
        first_token_p95_seconds=late,
        compression_p50_seconds=float(np.median([t["compression_seconds"] for t in timings])),
        tokens_per_layer=float(np.mean([(row >= 0).sum() for row in rows])),
        memory_bytes=described["memory_bytes"],
        host_bytes=described["host_bytes"],
        layers_per_frame=described["layers_per_frame"],
        works_at_question_time=described["works_at_question_time"],
    )


def _watch(engine: Any, frames: Any, times: list[float]) -> None:
    engine.encode_video_chunk(frames, times)
    engine.predict_and_compress()


def _seconds(act: Callable[[], Any]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start
