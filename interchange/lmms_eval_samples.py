"""A run as lmms-eval logs its samples: ``{model}/{time}_samples_{task}.jsonl``.

Fields as version 0.7.2 writes them: `doc_id` (question number in annotation order), `input`,
`target`, `filtered_resps`, `doc_hash`, `token_counts` and the metric, here `accuracy` (multiple
choice) and what is known of the question. `resps` is left out there when nothing was filtered.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eval.whole_file import write_text
from inference.answers.multiple_choice import format_mcqa_prompt
from video_qa.questions.annotation_file import load_annotations
from video_qa.questions.annotations import Question, Video
from video_qa.results.prediction import Prediction
from video_qa.results.predictions import read_predictions
from video_qa.results.stored import config_of


def export_samples(folder: Path, out: Path, anno_path: Path | None = None) -> Path:
    """Write the sample log of a run folder; returns its path.

    Args:
        anno_path: default: the one that the run names.

    Raises:
        ValueError: no run there, or nothing answered; AnnotationError.
    """
    config = config_of(folder / "config.json")
    videos = load_annotations(anno_path or Path(config["anno_path"]))
    found = read_predictions([folder / "predictions.jsonl"], config["run_id"])
    lines = [json.dumps(sample, ensure_ascii=False) for sample in _samples(videos, found)]
    if not lines:
        raise ValueError(f"{folder} holds no answers; nothing to export")
    model = re.sub(r"[\"<>:/|\\?*\[\]]+", "__", str(config["model"]))
    task = re.sub(r"\W", "_", str(config["dataset"]))
    started = datetime.now(UTC).strftime("%Y%m%d_%H%M%S")
    path = out / model / f"{started}_samples_{task}.jsonl"
    write_text(path, "\n".join(lines) + "\n")
    return path


def _samples(
    videos: tuple[Video, ...], found: Mapping[Any, Prediction]
) -> Iterator[dict[str, Any]]:
    number = -1
    for video in videos:
        for index, question in enumerate(video.questions):
            number += 1
            prediction = found.get((video.index, index))
            if prediction is not None and prediction.error is None:
                yield _sample(number, video, question, prediction)


def _sample(
    number: int, video: Video, question: Question, prediction: Prediction
) -> dict[str, Any]:
    choices = question.choices
    target = question.correct_letter if choices else question.answer
    doc = {
        "video_id": video.video_id,
        "video_path": video.video_path,
        "question": question.question,
        "choices": list(choices or ()),
        "answer": question.answer,
        "end_time": question.end_time_seconds,
        "task": question.task,
    }
    digest = hashlib.sha256(json.dumps(doc, indent=2, ensure_ascii=False).encode()).hexdigest()
    new_tokens = prediction.timing.get("num_new_tokens")
    return {
        "doc_id": number,
        "target": str(target),
        "filtered_resps": prediction.prediction,
        "token_counts": [None if new_tokens is None else {"output_tokens": new_tokens}],
        "doc_hash": digest,
        **({} if prediction.correct is None else {"accuracy": float(prediction.correct)}),
        "video_id": video.video_id,
        "task": question.task,
        "input": format_mcqa_prompt(question.question, choices) if choices else question.question,
    }
