"""One memory watches one stream, alone, as a run watches it: chunks end where a question is due.

Nothing is shared with another memory, every frame is encoded anew. Seconds of ingest are those of a
frame's way through tower, decoder and compression; decoding the video is not part of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from eval.run_costs import PERCENTILES
from reproduction.degrees.costs.measured import Costs
from video import open_video
from video_qa.hermes_vqa import HermesVQA
from video_qa.questions.annotations import Video
from video_qa.questions.question_times import last_stop_index, stop_index
from video_qa.settings.policy_spec import named_fields
from video_qa.settings.run_settings import RunSettings


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

    def parts(self, largest: int) -> Iterator[tuple[Any, list[float]]]:
        """All of its chunks."""
        for first, last in zip([0, *self.stops], self.stops, strict=False):
            yield from self.chunks(first, last, largest)


def vision_seconds(encoder: Any, watched: Watched, chunk_frames: int) -> float:
    """All frames through the vision tower alone."""
    return _seconds(lambda: [encoder.encode_features(f) for f, _ in watched.parts(chunk_frames)])


def costs_of_run(encoder: Any, settings: RunSettings, watched: Watched) -> Costs | None:
    """One memory, once; None where it cannot serve the model."""
    try:
        engine = encoder.new_stream(**named_fields(settings))
    except ValueError:
        return None
    ingest, answers, timings = _watch_and_ask(HermesVQA(engine, settings, ""), watched)
    described = engine.describe()
    first_token = [timing["first_token_seconds"] for timing in timings]
    middle, late = (float(np.percentile(first_token, share)) for share in PERCENTILES)
    compression = float(np.median([timing["compression_seconds"] for timing in timings]))
    rows = engine.kept.frames_by_layer()
    return Costs(
        policy=settings.policy,
        kv_size=settings.kv_size,
        ingest_seconds_per_frame=ingest / len(watched.frames),
        answer_seconds=float(np.mean(answers)),
        first_token_p50_seconds=middle,
        first_token_p95_seconds=late,
        compression_p50_seconds=compression,
        tokens_per_layer=float(np.mean([(row >= 0).sum() for row in rows])),
        memory_bytes=described["memory_bytes"],
        host_bytes=described["host_bytes"],
        layers_per_frame=described["layers_per_frame"],
        works_at_question_time=described["works_at_question_time"],
        first_token_by_round_seconds=(middle,),
        compression_by_round_seconds=(compression,),
    )


def _watch_and_ask(
    asker: HermesVQA, watched: Watched
) -> tuple[float, list[float], list[Mapping[str, Any]]]:
    """Seconds of watching, seconds of each answer, and the timings of each."""
    asker.start_stream()
    ingest, answers, timings, first = 0.0, [], [], 0
    for question, stop in zip(watched.video.questions, watched.stops, strict=True):
        for frames, times in watched.chunks(first, stop, asker.settings.chunk_frames):
            ingest += _seconds(partial(_watch, asker.model, frames, times))
        first = stop
        start = time.perf_counter()
        timings.append(asker.ask(question).timing)
        answers.append(time.perf_counter() - start)
    return ingest, answers, timings


def _watch(engine: Any, frames: Any, times: list[float]) -> None:
    engine.encode_video_chunk(frames, times)
    engine.predict_and_compress()


def _seconds(act: Callable[[], Any]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start
