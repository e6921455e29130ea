"""Qwen3-VL in runner, comparison, inspector and face, by the folder of its checkpoint."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from runner_helpers import choice, rows, videos_with
from videos import numbered_frames, write_video

import hermes
from inference.checkpoints.loading import tokens_per_step
from inference.checkpoints.models import MODELS
from video_qa.compare import main as compare
from video_qa.hermes_vqa import main as worker_main
from video_qa.inspect_memory import main as inspect_memory
from video_qa.lanes import execute, worker
from video_qa.launchers import local
from video_qa.results.run_folder import MARKER
from video_qa.settings.model_registry import check_names
from video_qa.settings.run_settings import RunSettings, SettingsError

PATCH = 16 + 7
"""Tokens of a stamped pair of square frames."""


@pytest.fixture
def folder(checkpoint: Callable[[str], Path]) -> Path:
    return checkpoint("qwen3")


@pytest.mark.parametrize("key", [key for key in MODELS if key.startswith("qwen3")])
def test_its_keys_are_known(key: str) -> None:
    check_names(RunSettings(key, 4000, 2.0, True))
    with pytest.raises(SettingsError, match="unknown model"):
        check_names(RunSettings(f"{key}x", 4000, 2.0, True))


def test_tokens_depend_on_the_frame_size(folder: Path) -> None:
    assert tokens_per_step(folder) is None


def test_the_runner_takes_it(folder: Path, tmp_path: Path) -> None:
    anno_path = videos_with(tmp_path, [[choice("a", 4), choice("b", 16)]])
    command = [f"--model={folder}", f"--anno_path={anno_path}", f"--save_dir={tmp_path / 'out'}"]
    command += ["--device=cpu", "--debug=false", "--max_new_tokens=2", f"--kv_size={4 * PATCH}"]
    assert worker_main([*command, "--policy=hermes:outer_markers=false"]) == 0
    assert all(row["error"] is None for row in rows(tmp_path / "out/1_0.jsonl"))
    described = json.loads((tmp_path / "out/1_0.engine.json").read_text())
    assert described["outer_markers"] is False and described["frame_text"] == "with_frame"
    assert described["tokens_per_frame"] >= PATCH / 2, "stamps are counted in the horizon"


def test_the_comparison_takes_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_all(tasks: list[execute.WorkerTask], *_: object) -> list[str]:
        for task in tasks:
            worker.main([part for part in task.command[2:] if "runner_pid" not in part])
        return []

    monkeypatch.setattr(local, "run_workers", run_all)
    anno_path = videos_with(tmp_path, [[choice("q", 12.0, task="far_colour")]] * 2, num_frames=14)
    command = [f"--model={folder}", "--dataset=nanostream", "--device=cpu", "--max_new_tokens=2"]
    command += [f"--anno_path={anno_path}", f"--kv_sizes={3 * PATCH}", "--sample_fps=2"]
    command += [f"--results_root={tmp_path / 'results'}", "--policies=recent,hermes,last_frames"]
    assert compare(command) == 0
    out = next((tmp_path / "results").rglob("comparison.csv")).parent
    assert MARKER in {path.name for path in out.iterdir()}
    table = pd.read_csv(out / "comparison.csv", keep_default_na=False)
    assert len(table) == 6
    answered = [
        row for path in (tmp_path / "results").rglob("predictions.jsonl") for row in rows(path)
    ]
    assert len(answered) == 6 and all(row["error"] is None for row in answered)
    kept = json.loads(next((tmp_path / "results").rglob("retention.json")).read_text())
    assert all(0 <= share <= 1 for layer in kept["by_layer"] for share in layer)


def test_the_inspector_tells_stamps_from_picture(folder: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "talk.mp4", numbered_frames(40), fps=2)
    command = [str(video), f"--model={folder}", f"--out={tmp_path / 'out'}", "--device=cpu"]
    command += ["--chunk_frames=8", f"--kv_size={5 * PATCH}", "--policy=hermes", "--sample_fps=2"]
    assert inspect_memory(command) == 0
    table = pd.read_csv(tmp_path / "out" / "retention.csv")
    last = table[table.watched_until_seconds == table.watched_until_seconds.max()]
    assert set(last.groupby("layer").tokens.sum()) == {5 * PATCH}
    stamps = last[last.frame == -3].set_index("layer").tokens
    frames = last[last.frame >= 0].groupby("layer").frame.nunique()
    assert (stamps >= 7 * frames).all() and (stamps <= 9 * frames).all()
    page = html.unescape((tmp_path / "out" / "memory.html").read_text())
    assert "of their time stamps" in page


def test_the_face_opens_it(folder: Path) -> None:
    stream = hermes.open(str(folder), kv_size=4 * PATCH, device="cpu", frame_text="dropped")
    for frame in numbered_frames(12):
        stream.watch(frame[None])
    assert str(stream.ask("What is this?", max_new_tokens=2)) is not None
    origin = stream.engine.memory.provenance
    used = slice(stream.engine.memory.num_prefix, stream.engine.memory.num_tokens)
    assert not (origin.patch[:, used] < 0).any()
