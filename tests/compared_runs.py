"""Run folders with invented predictions, as the runner writes them; no model needed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from video_qa.questions.annotations import Question, Video
from video_qa.results.predictions import Prediction, write_predictions

TASKS = ("now_colour", "recent_shape", "far_colour", "count_colours", "unanswerable")
SKILL = {"recent": (0.95, 0.8, 0.3, 0.4, 0.6), "two_speed": (0.95, 0.85, 0.8, 0.6, 0.7)}
"""Chance of a right answer per task."""
SETTINGS = {"model": "nano", "sample_fps": 1.0, "profile": "released", "annotation_sha256": "a1"}


def videos(num_videos: int = 20) -> list[Video]:
    """A multiple-choice question of each task about each video, "a" (A) being right."""
    return [
        Video(
            index,
            f"v{index}",
            f"videos/{index}.mp4",
            tuple(Question(f"{task}?", "a", ("a", "b"), 9.0, task) for task in TASKS),
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
        9.0,
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
