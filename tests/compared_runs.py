"""Run folders with invented predictions, as the runner writes them; no model needed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval.comparison import main as evaluate
from video_qa.comparison.finished import FinishedRun, check_same_protocol, read_run
from video_qa.comparison.table import describe_runs, write_comparison_csv, write_json
from video_qa.questions.annotations import Question, Video
from video_qa.results.prediction import Prediction
from video_qa.results.predictions import write_predictions
from video_qa.runner.shards import question_keys

pytest.importorskip("pydantic")  # which reads runs
TASKS = ("now_colour", "recent_shape", "far_colour", "count_colours", "unanswerable")
SKILL = {"recent": (0.95, 0.8, 0.3, 0.4, 0.6), "two_speed": (0.95, 0.85, 0.8, 0.6, 0.7)}
"""Chance of a right answer per task."""
END = 9.0
"""Seconds into the stream when everything is asked; at one frame per second."""
SETTINGS = {"model": "nano", "sample_fps": 1.0, "profile": "released", "annotation_sha256": "a1"}


def videos(num_videos: int = 20) -> list[Video]:
    """A multiple-choice question of each task about each video, "a" (A) being right."""
    return [
        Video(
            index,
            f"v{index}",
            f"videos/{index}.mp4",
            tuple(Question(f"{task}?", "a", ("a", "b"), END, task) for task in TASKS),
        )
        for index in range(num_videos)
    ]


def write_run(
    folder: Path,
    policy: str,
    kv_size: int,
    num_videos: int = 20,
    skill: Sequence[float] | None = None,
    **settings: Any,
) -> Path:
    """A finished run; `settings` overrides the shared ones."""
    folder.mkdir(parents=True)
    run_id = f"{policy}-{kv_size}"
    skill = skill or SKILL.get(policy, (0.9, 0.8, 0.6, 0.5, 0.6))
    generator = np.random.default_rng([len(policy), kv_size])
    predictions = [
        _prediction(run_id, video, i, bool(generator.random() < skill[i]), kv_size)
        for video in videos(num_videos)
        for i in range(len(TASKS))
    ]
    write_predictions(folder / "predictions.jsonl", predictions)
    engine = {"prompts_hash": "p", "dtype": "float32", "attn": "sdpa", "tokens_per_frame": 4}
    engine |= {"horizon_seconds": kv_size / 4, "memory_bytes": kv_size * 1000}
    config = {"run_id": run_id, "dataset": "nanostream", "engine": engine}
    config["settings"] = SETTINGS | {"policy": policy, "kv_size": kv_size} | settings
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "environment.json").write_text(json.dumps({"packages": {"torch": "2"}}))
    return folder


def finished_comparison(
    root: Path,
    policies: Sequence[str],
    sizes: Sequence[int],
    num_videos: int = 12,
    refused: Mapping[tuple[str, int], str] | None = None,
    map_shape: tuple[int, int] = (3, 20),
) -> list[FinishedRun]:
    """Runs with retention maps, their table and comparison.json; no page yet."""
    asked, runs = videos(num_videos), []
    for number, policy in enumerate(policies):
        for kv_size in sizes:
            path = write_run(root / f"{number}-{kv_size}", policy, kv_size, num_videos)
            shares = np.linspace(0, 1, map_shape[0] * map_shape[1]).reshape(map_shape)
            write_map(path, policy, kv_size, shares ** (number + 1))
            runs.append(read_run(path, question_keys(asked)))
    check_same_protocol(runs)
    write_comparison_csv(root / "comparison.csv", runs, asked)
    write_json(root / "runs.json", describe_runs(runs, refused or {}, 2))
    assert evaluate(["--folder", str(root)]) == 0
    return runs


def write_map(folder: Path, policy: str, kv_size: int, share: np.ndarray) -> None:
    """A retention map; `share` is (layer, moment)."""
    moments = share.shape[1]
    history = [
        [float(share[:, i].mean()) if i < last else None for i in range(moments)]
        for last in range(1, moments + 1)
    ]
    content = {
        "run_id": f"{policy}-{kv_size}",
        "video_id": "v0",
        "moment_seconds": list(range(moments)),
        "end_seconds": moments,
        "by_layer": share.tolist(),
        "snapshot_seconds": list(range(1, moments + 1)),
        "over_time": history,
    }
    (folder / "retention.json").write_text(json.dumps(content))


def _prediction(run_id: str, video: Video, index: int, right: bool, kv_size: int) -> Prediction:
    return Prediction(
        run_id,
        video.index,
        video.video_id,
        index,
        video.questions[index].question,
        END,
        num_frames=int(END),
        prediction="A) a" if right else "B) b",
        letter="A" if right else "B",
        correct_letter="A",
        correct=right,
        timing={
            "first_token_seconds": 0.01 + kv_size * 1e-5 * (1 + video.index % 5),
            "compression_seconds": 0.002,
            "memory_bytes": 1000 * kv_size,
            "host_bytes": 0,
        },
    )
