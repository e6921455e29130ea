"""The results table in the released format: one row per question in annotation order."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from eval.whole_file import write_text
from video_qa.questions.annotations import MULTIPLE_CHOICE, OPEN_ENDED, Question, Video
from video_qa.results.prediction import Key, Prediction

COLUMNS = {
    MULTIPLE_CHOICE: (
        "video_id",
        "question",
        "choices",
        "answer",
        "correct_choice",
        "pred_answer",
        "pred_choice",
        "qa_acc",
    ),
    OPEN_ENDED: ("video_id", "question", "answer", "pred_answer"),
}
# Written only when some row has a value, so that files without them look as they always did.
OPTIONAL_COLUMNS = ("task", "duration_category", "required_ability", "video_path", "error")


def write_results_csv(
    path: Path, videos: Sequence[Video], predictions: Mapping[Key, Prediction], kind: str | None
) -> None:
    """Write the rows of ``videos`` that have a prediction, atomically.

    A question with an error has an empty prediction and names the error in the last column; the
    evaluators leave it out and say so. Where entries share a video (OVO-Bench, MVBench),
    `video_path` tells which, for intervals clustered by video. `kind` None: questions of either
    kind; beside options, an open one leaves their columns empty.

    Raises:
        OSError: the disk refuses.
    """
    kind = kind or kind_of(videos)
    shared = len({video.video_path for video in videos}) < len(videos)
    rows = [
        _row(video, question, predictions[video.index, i], kind)
        | {"video_path": video.video_path if shared else None}
        for video in videos
        for i, question in enumerate(video.questions)
        if (video.index, i) in predictions
    ]
    used = [name for name in OPTIONAL_COLUMNS if any(row[name] is not None for row in rows)]
    table = pd.DataFrame(rows, columns=[*COLUMNS[kind], *used], dtype=object)
    write_text(path, table.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC))


def kinds_in(path: Path) -> list[str]:
    """The kinds of questions that a results table holds, multiple choice first."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if "choices" not in table.columns:
        return [OPEN_ENDED]
    has_options = table["choices"] != ""
    found = {MULTIPLE_CHOICE: has_options.any(), OPEN_ENDED: not has_options.all()}
    return [kind for kind, is_there in found.items() if is_there]


def kind_of(videos: Sequence[Video]) -> str:
    """The kind whose columns a table of these questions has."""
    has_choices = any(q.choices is not None for video in videos for q in video.questions)
    return MULTIPLE_CHOICE if has_choices else OPEN_ENDED


def _row(video: Video, question: Question, prediction: Prediction, kind: str) -> dict[str, Any]:
    row: dict[str, Any] = {
        "video_id": video.video_id,
        "question": question.question,
        "answer": question.reference_answer,
        "pred_answer": prediction.prediction.replace("\n", ""),
        "task": question.task,
        "duration_category": video.duration_category,
        "required_ability": question.required_ability,
        "error": prediction.error,
    }
    if kind == MULTIPLE_CHOICE and question.choices is not None:
        row["choices"] = repr(list(question.choices))
        row["correct_choice"] = prediction.correct_letter
        row["pred_choice"] = prediction.letter or ""
        row["qa_acc"] = 100.0 if prediction.correct else 0.0
    return row
