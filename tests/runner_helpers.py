"""Small videos, annotations and worker calls for the runner's tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from inference import AbstractHermes
from video_qa.hermes_vqa import main as worker_main
from video_qa.lanes import execute
from video_qa.lanes import worker as lane_worker
from video_qa.launchers import local

pytest.importorskip("pydantic")  # which reads annotation files
OPTIONS = ["red", "green", "blue", "grey"]


def choice(text: str, end_time: float | None = None, **more: Any) -> dict[str, Any]:
    """A multiple-choice question, "green" (B) being right."""
    timed = {} if end_time is None else {"end_time": end_time}
    return {"question": text, "choices": OPTIONS, "answer": "green", **timed, **more}


def write_array(path: Path, num_frames: int, seed: int = 0) -> Path:
    """Noise of 1 frame per second as .npy."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = np.random.default_rng(seed).integers(0, 256, (num_frames, 8, 8, 3), np.uint8)
    np.save(path, frames)
    return path


def write_annotations(path: Path, entries: Any) -> Path:
    path.write_text(json.dumps(entries), encoding="utf-8")
    return path


def videos_with(
    folder: Path, conversations: Sequence[Sequence[dict[str, Any]]], num_frames: int = 40
) -> Path:
    """One 40-second video per conversation, and their annotation file."""
    entries = []
    for i, conversation in enumerate(conversations):
        path = write_array(folder / "data" / "videos" / f"{i}.npy", num_frames, seed=i)
        entries.append({"video_id": i, "video_path": str(path), "conversations": conversation})
    return write_annotations(folder / "annotations.json", entries)


def fake_arguments(folder: Path, anno_path: Path) -> list[str]:
    """Arguments that runner and worker share, for the fake engine."""
    model = folder / "fake-model"
    model.mkdir(exist_ok=True)
    settings = [f"--model={model}", "--engine=tests.fake_engine:load_model", "--kv_size=64"]
    return [*settings, f"--anno_path={anno_path}", "--sample_fps=1", "--device=cpu"]


def run_worker(folder: Path, anno_path: Path, save_dir: Path, *more: str) -> int:
    """Run one worker inside this process."""
    arguments = fake_arguments(folder, anno_path)
    return worker_main([*arguments, f"--save_dir={save_dir}", "--debug=false", *more])


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def table(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, keep_default_na=False)


def workers_inside(
    monkeypatch: pytest.MonkeyPatch, main: Callable[[list[str]], Any] = worker_main
) -> None:
    """Have workers, by default those of the runner, run in this process."""

    def run_all(tasks: list[execute.WorkerTask], *_: object) -> list[str]:
        for task in tasks:
            main([part for part in task.command[2:] if "runner_pid" not in part])
        return []

    monkeypatch.setattr(local, "run_workers", run_all)


def lanes_inside(monkeypatch: pytest.MonkeyPatch, stream: AbstractHermes) -> None:
    """The same of workers that watch side by side, on weights that are loaded."""
    workers_inside(monkeypatch, lane_worker.main)
    monkeypatch.setattr(lane_worker, "load_engine", lambda settings, device: stream)
