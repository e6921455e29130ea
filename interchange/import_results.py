"""Bring results of the authors' code or of a fork into a run folder of this project.

Rows are matched with the annotation file by video and question, so that intervals, tables and
comparisons take them like our own. What such a run does not say (frames seen, prompts, versions)
stays unknown; a comparison then compares what is known.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from interchange.foreign_folder import FolderName, read_table
from video_qa.questions.annotation_file import load_annotations
from video_qa.questions.annotations import Video
from video_qa.questions.benchmarks import DATASETS
from video_qa.results.prediction import Key, Prediction
from video_qa.results.predictions import write_predictions
from video_qa.results.results_csv import write_results_csv
from video_qa.results.run_folder import open_run_folder
from video_qa.settings.run_settings import fingerprint

SHOWN = 3


class ImportedResultsError(ValueError):
    """The results do not fit the annotations, or their folder does not say what they are."""


@dataclass(frozen=True)
class Origin:
    """What was run."""

    folder: Path
    model: str
    dataset: str
    sample_fps: float
    kv_size: int
    policy: str = "released"
    """What the run is called in tables."""

    @classmethod
    def of(cls, folder: Path, **given: Any) -> Origin:
        """From the folder's name, completed and overruled by what is given.

        Raises:
            ImportedResultsError: something is neither in the name nor given.
        """
        name = FolderName.read(folder)
        known: dict[str, Any] = {
            field: given.get(field) if given.get(field) is not None else getattr(name, field)
            for field in ("model", "dataset", "sample_fps", "kv_size")
        }
        if unknown := [field for field, value in known.items() if value is None]:
            flags = ", ".join(f"--{field}" for field in unknown)
            raise ImportedResultsError(f"the name of {folder} does not say it: give {flags}")
        if known["dataset"] not in DATASETS:
            raise ImportedResultsError(
                f"unknown data set '{known['dataset']}': give --dataset, one of "
                f"{', '.join(DATASETS)}"
            )
        policy = given.get("policy") or ("released" if name.mode is None else name.mode)
        return cls(folder, policy=policy, **known)


def import_results(
    origin: Origin, anno_path: Path, out: Path, *, allow_missing: bool = False
) -> int:
    """Write predictions.jsonl, results.csv and config.json into `out`; returns how many rows.

    Raises:
        ImportedResultsError: rows that the annotations do not have, or questions without a row.
        ResultsError, AnnotationError, RunFolderError: a file cannot be used.
    """
    kind = DATASETS[origin.dataset].kind
    videos = load_annotations(anno_path, kind)
    settings = {
        "model": origin.model,
        "kv_size": origin.kv_size,
        "sample_fps": origin.sample_fps,
        "policy": origin.policy,
        "annotation_sha256": hashlib.sha256(anno_path.read_bytes()).hexdigest(),
    }
    described = {"imported_from": str(origin.folder), "settings": settings}
    run_id = fingerprint(described)
    found = _predictions(read_table(origin.folder), videos, run_id)
    num_questions = sum(len(video.questions) for video in videos)
    if len(found) < num_questions and not allow_missing:
        raise ImportedResultsError(
            f"{origin.folder} has {len(found)} of the {num_questions} questions of {anno_path}; "
            "give --allow_missing to import them alone"
        )
    with open_run_folder(out) as folder:
        folder.clear()
        write_predictions(folder.predictions, found.values())
        known = {"run_id": run_id, "dataset": origin.dataset, "model": origin.model}
        rest = {"anno_path": str(anno_path), "engine": None}
        folder.write_json(folder.config, {**known, **rest, **described})
        write_results_csv(folder.results, videos, found, kind)
    return len(found)


def _predictions(
    table: pd.DataFrame, videos: Sequence[Video], run_id: str
) -> dict[Key, Prediction]:
    """Rows in any order; the k-th row of a question that is asked several times is its k-th."""
    waiting: dict[tuple[str, str], deque[Key]] = defaultdict(deque)
    for video in videos:
        for index, question in enumerate(video.questions):
            waiting[str(video.video_id), _plain(question.question)].append((video.index, index))
    found: dict[Key, Prediction] = {}
    strangers: list[str] = []
    for number, row in enumerate(table.to_dict("records"), start=1):
        keys = waiting.get((str(row["video_id"]), _plain(str(row["question"]))))
        if not keys:
            strangers.append(f"row {number} (video {row['video_id']}: {row['question']!s:.60})")
            continue
        key = keys.popleft()
        found[key] = _prediction(row, videos[key[0]], key, run_id, number)
    if strangers:
        more = f" and {len(strangers) - SHOWN} more" if len(strangers) > SHOWN else ""
        raise ImportedResultsError(
            f"the annotations do not have {'; '.join(strangers[:SHOWN])}{more}; is this the "
            "annotation file that these results were made with?"
        )
    return found


def _prediction(
    row: Mapping[Any, Any], video: Video, key: Key, run_id: str, number: int
) -> Prediction:
    question = video.questions[key[1]]
    letter = str(row["pred_choice"]) if question.choices and "pred_choice" in row else None
    correct = None
    if question.choices:
        correct = (letter or "") == question.correct_letter
        if row.get("correct_choice", question.correct_letter) != question.correct_letter:
            raise ImportedResultsError(
                f"row {number}: its right answer is {row['correct_choice']!r}, that of the "
                f"annotations {question.correct_letter!r}; options are in another order"
            )
    return Prediction(
        run_id=run_id,
        video_index=key[0],
        video_id=video.video_id,
        question_index=key[1],
        question=question.question,
        end_time=question.end_time_seconds,
        prediction=str(row["pred_answer"]),
        letter=letter,
        correct_letter=question.correct_letter,
        correct=correct,
    )


def _plain(text: str) -> str:
    return " ".join(text.split())
