"""The questions on which memories disagree, each with its answers and its moment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from inference.answers.multiple_choice import LETTERS
from video.reader import VideoError
from video_qa.comparison.finished import FinishedRun
from video_qa.comparison.pages.pictures import data_uri, frame_at, jpeg
from video_qa.questions.annotations import Video
from video_qa.results.prediction import Prediction

MAX_QUESTIONS = 48
"""Each has a picture: more would make the page heavy."""
PICTURE_WIDTH = 240
RIGHT, WRONG = "1", "0"
Entry = Mapping[str, Any]


def describe_disagreements(
    numbers: Mapping[str, Any],
    runs: Sequence[FinishedRun],
    videos: Sequence[Video],
    video_root: Path | None = None,
) -> dict[str, Any]:
    """What the page shows of `disagreements` in comparison.json.

    Args:
        numbers: content of comparison.json, made of these runs in this order.
        videos: the annotations, which say what the options were.
    """
    entries = numbers["disagreements"]
    by_task: dict[str, list[Entry]] = {}
    for entry in sorted(entries, key=_unevenness):
        by_task.setdefault(entry["task"], []).append(entry)
    turns = chain.from_iterable(zip_longest(*by_task.values()))
    chosen = [entry for entry in turns if entry is not None][:MAX_QUESTIONS]
    by_index = {video.index: video for video in videos}
    tasks = [
        {
            "name": task,
            "num_questions": len(own),
            "questions": [
                _describe(entry, runs, by_index[entry["video_index"]], video_root)
                for entry in chosen
                if entry["task"] == task
            ],
        }
        for task, own in by_task.items()
    ]
    return {
        "num_questions": len(entries),
        "num_shown": len(chosen),
        "limit": MAX_QUESTIONS,
        "tasks": [task for task in tasks if task["questions"]],
    }


def _unevenness(entry: Entry) -> int:
    return abs(entry["verdicts"].count(RIGHT) - entry["verdicts"].count(WRONG))


def _describe(
    entry: Entry, runs: Sequence[FinishedRun], video: Video, root: Path | None
) -> dict[str, Any]:
    key = entry["video_index"], entry["question_index"]
    question = video.questions[key[1]]
    predictions = [run.predictions[key] for run in runs]
    options = {LETTERS[i]: f"{LETTERS[i]}) {text}" for i, text in enumerate(question.choices or ())}
    end = question.end_time_seconds
    return {
        "video_id": video.video_id,
        "moment": "at its end" if end is None else f"after {end:g} s",
        "question": question.question,
        "options": list(options.values()),
        "answer": options.get(question.correct_letter or "", question.reference_answer),
        "replies": list(_replies(entry, runs, predictions, options)),
        **_picture(video, runs[0], predictions, root),
    }


def _replies(
    entry: Entry,
    runs: Sequence[FinishedRun],
    predictions: Sequence[Prediction],
    options: Mapping[str, str],
) -> Iterator[dict[str, Any]]:
    """Who said the same stands in one line; right ones first."""
    said: dict[tuple[bool, str], list[str]] = {}
    for run, prediction, verdict in zip(runs, predictions, entry["verdicts"], strict=True):
        if verdict in (RIGHT, WRONG):
            said_text = prediction.prediction.strip() or "(nothing)"
            text = options.get(prediction.letter or "", said_text)
            said.setdefault((verdict == RIGHT, text), []).append(f"{run.policy} {run.kv_size}")
    for (right, text), names in sorted(said.items(), key=lambda reply: not reply[0][0]):
        yield {"right": right, "text": text, "runs": names}


def _picture(
    video: Video, run: FinishedRun, predictions: Sequence[Prediction], root: Path | None
) -> dict[str, str | None]:
    """The last frame that was watched before the question, or why there is none."""
    sample_fps = float(run.protocol["sample_fps"])
    start_seconds = video.clip_seconds[0] if video.clip_seconds else 0.0
    num_frames = max(prediction.num_frames for prediction in predictions)
    seconds = start_seconds + max(0, num_frames - 1) / sample_fps
    try:
        picture = jpeg(frame_at(video, root, seconds, sample_fps), PICTURE_WIDTH)
    except VideoError as error:
        return {"picture": None, "no_picture": str(error)}
    return {"picture": data_uri(picture), "no_picture": None}
