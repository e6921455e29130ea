"""What the command line says of a run's predictions: one line per cause, and damaged videos."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from video_qa.questions.annotations import Video
from video_qa.results.prediction import Prediction

SHOWN_LINES = 10


def failure_lines(predictions: Iterable[Prediction], videos: Sequence[Video]) -> list[str]:
    """One line per cause of errors, most questions first: how often, and one example in full.

    Errors that differ only in the video's file have one cause.
    """
    paths = {video.index: video.video_path for video in videos}
    by_cause: dict[str, list[Prediction]] = {}
    for prediction in predictions:
        if prediction.error is not None:
            cause = _without_file(prediction.error, paths.get(prediction.video_index, ""))
            by_cause.setdefault(cause, []).append(prediction)
    groups = sorted(by_cause.values(), key=len, reverse=True)
    return _shortened([_failure_line(group) for group in groups])


def corruption_lines(predictions: Iterable[Prediction]) -> list[str]:
    """What was answered from damaged frames: a line for the run, one per video; or nothing."""
    worst: dict[int, Prediction] = {}
    for prediction in predictions:
        if prediction.num_corrupt_frames > _num_corrupt(worst.get(prediction.video_index)):
            worst[prediction.video_index] = prediction
    if not worst:
        return []
    lines = [
        f"  video {p.video_id}: {p.num_corrupt_frames} frames" for _, p in sorted(worst.items())
    ]
    return [
        f"{len(worst)} video(s) are damaged: FFmpeg marks frames as corrupt, answers stand on its "
        "guesses (num_corrupt_frames in predictions.jsonl); get these files again:",
        *_shortened(lines),
    ]


def _num_corrupt(prediction: Prediction | None) -> int:
    return 0 if prediction is None else prediction.num_corrupt_frames


def _without_file(error: str, path: str) -> str:
    name = Path(path).name
    return re.sub(rf"\S*{re.escape(name)}", "", error.replace(path, name)) if name else error


def _failure_line(group: Sequence[Prediction]) -> str:
    first = group[0]
    where = f"video {first.video_id}, question {first.question_index}"
    if len(group) == 1:
        return f"  {where}: {first.error}"
    num_videos = len({prediction.video_index for prediction in group})
    return f"  {len(group)} questions of {num_videos} video(s), first {where}: {first.error}"


def _shortened(lines: list[str]) -> list[str]:
    more = len(lines) - SHOWN_LINES
    return lines if more <= 0 else [*lines[:SHOWN_LINES], f"  ... and {more} more"]
