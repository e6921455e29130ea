"""`comparison.csv` (one row per run and question) and `runs.json` (one entry per run)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from eval.whole_file import write_text
from video_qa.comparison.finished import FinishedRun
from video_qa.questions.annotations import Video
from video_qa.results.prediction import Key, Prediction

COSTS = (
    "first_token_seconds",
    "first_token_cached_seconds",
    "first_token_uncached_seconds",
    "prefill_seconds",
    "per_token_seconds",
    "compression_seconds",
    "memory_bytes",
    "host_bytes",
    "peak_bytes",
)
"""Measured per question; empty where a run did not measure them."""
ENGINE_COSTS = (
    "tokens_per_frame",
    "horizon_seconds",
    "memory_bytes",
    "host_bytes",
    "works_at_question_time",
)


def write_comparison_csv(path: Path, runs: Sequence[FinishedRun], videos: Sequence[Video]) -> None:
    """One row per run and question, in the order of the runs and of the annotations."""
    by_index = {video.index: video for video in videos}
    rows = [
        _row(run, by_index[key[0]], key, prediction)
        for run in runs
        for key, prediction in run.predictions.items()
    ]
    write_text(path, pd.DataFrame(rows, dtype=object).to_csv(index=False))


def describe_runs(
    runs: Sequence[FinishedRun], refused: Mapping[tuple[str, int], str], num_chunks: int | None
) -> dict[str, Any]:
    """JSON-able facts that are not in the table: protocol, versions, engines."""
    return {
        "dataset": runs[0].config.get("dataset"),
        "protocol": runs[0].protocol,
        "versions": _versions(runs),
        "num_chunks": num_chunks,
        "runs": [
            {
                "policy": run.policy,
                "kv_size": run.kv_size,
                "folder": str(run.folder),
                "engine": {name: run.engine.get(name) for name in ENGINE_COSTS},
                "policy_options": run.engine.get("policy_options"),
            }
            for run in runs
        ],
        "refused": [
            {"policy": policy, "kv_size": kv_size, "error": error}
            for (policy, kv_size), error in refused.items()
        ],
    }


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write atomically; NaN is refused because JSON has none."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def _row(run: FinishedRun, video: Video, key: Key, prediction: Prediction) -> dict[str, Any]:
    question = video.questions[key[1]]
    accuracy = None if prediction.correct is None else 100.0 * prediction.correct
    return {
        "policy": run.policy,
        "kv_size": run.kv_size,
        "video_index": key[0],
        "question_index": key[1],
        "video_id": video.video_id,
        "video_path": video.video_path,
        "task": question.task,
        "question": question.question,
        "end_time": question.end_time_seconds,
        "answer": question.reference_answer,
        "correct_choice": prediction.correct_letter,
        "pred_answer": prediction.prediction.replace("\n", ""),
        "pred_choice": prediction.letter,
        "qa_acc": accuracy,
        "error": prediction.error,
        "num_frames": prediction.num_frames,
        **{name: prediction.timing.get(name) for name in COSTS},
    }


def _versions(runs: Sequence[FinishedRun]) -> dict[str, list[Any]]:
    """Every version and commit the runs were made with; more than one where they differ."""
    found: dict[str, list[Any]] = {}
    for run in runs:
        environment = run.environment
        facts = dict(environment.get("packages") or {})
        facts |= {name: environment.get(name) for name in ("python", "git_commit", "platform")}
        facts["devices"] = ", ".join(environment.get("devices") or [])
        for name, value in facts.items():
            if value is not None and value not in found.setdefault(name, []):
                found[name].append(value)
    return {name: values for name, values in found.items() if values}
