"""What a comparison consists of: its runs, its videos, and who watches which of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eval.whole_file import write_text
from video_qa.lanes.retention_file import read_retention
from video_qa.questions.annotation_file import load_annotations
from video_qa.questions.annotations import Video
from video_qa.questions.question_times import last_stop_index
from video_qa.results.prediction import Key
from video_qa.results.predictions import answer_texts, read_predictions
from video_qa.runner.shards import PREDICTIONS_FILE, shard, unfinished
from video_qa.settings.run_settings import IN_ORDER, RunSettings


@dataclass(frozen=True)
class ComparedRun:
    """One row of the comparison: a policy at a budget, and the run folder that holds it.

    The folder is that of `video_qa/run_infer.py` for the same settings: either can continue what
    the other began.
    """

    settings: RunSettings
    folder: Path
    run_id: str

    @property
    def label(self) -> str:
        """For messages."""
        turns = "" if self.settings.turns == IN_ORDER else f", {self.settings.turns}"
        return f"{self.settings.policy} at kv_size {self.settings.kv_size}{turns}"

    @property
    def is_recorded(self) -> bool:
        """Whether it is of interest what its memory holds."""
        return self.settings.turns == IN_ORDER

    def answered(self, stem: str | None = None) -> dict[Key, str]:
        """The answers stored so far, errors left out; with those of the worker `stem`."""
        names = [PREDICTIONS_FILE, *([] if stem is None else [f"{stem}.jsonl"])]
        return answer_texts(read_predictions([self.folder / name for name in names], self.run_id))

    def owed(
        self, videos: Sequence[Video], retention_index: int, stem: str | None = None
    ) -> list[Video]:
        """The videos this run has to watch: for answers, or to record what its memory holds."""
        missing = {video.index for video in unfinished(videos, self.answered(stem))}
        if self.is_recorded and read_retention(self.folder, self.run_id) is None:
            missing.add(retention_index)
        return [video for video in videos if video.index in missing]

    def stored(
        self, videos: Sequence[Video], retention_index: int, stem: str | None = None
    ) -> dict[int, dict[int, str]]:
        """Index of each video owed -> question index -> answer that need not be asked again."""
        answered = self.answered(stem)
        return {
            video.index: {i: text for (index, i), text in answered.items() if index == video.index}
            for video in self.owed(videos, retention_index, stem)
        }


@dataclass(frozen=True)
class WatchPlan:
    """What the workers do, as the runner decided it; travels to them as a JSON file."""

    runs: tuple[ComparedRun, ...]
    anno_path: Path
    kind: str | None
    video_root: Path | None
    retention_index: int
    """Index of the video during which the memories are recorded."""
    shards: tuple[tuple[int, ...], ...]
    """Per worker the indices of its videos."""

    def videos(self, worker: int) -> list[Video]:
        """The videos of one worker."""
        everything = load_annotations(self.anno_path, self.kind)
        return [everything[index] for index in self.shards[worker]]

    def write(self, path: Path) -> None:
        """Store the plan. Raises OSError."""
        write_text(path, json.dumps(asdict(self), default=str, indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> WatchPlan:
        """The inverse of `write`."""
        stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        root = stored["video_root"]
        return cls(
            runs=tuple(_read_run(run) for run in stored["runs"]),
            anno_path=Path(stored["anno_path"]),
            kind=stored["kind"],
            video_root=None if root is None else Path(root),
            retention_index=stored["retention_index"],
            shards=tuple(tuple(indices) for indices in stored["shards"]),
        )


def _read_run(stored: Mapping[str, Any]) -> ComparedRun:
    settings = RunSettings(**stored["settings"])
    return ComparedRun(settings, Path(stored["folder"]), stored["run_id"])


def retention_video(videos: Sequence[Video], sample_fps: float) -> int:
    """Index of the video of which most is watched; one watched to its end counts as longest."""

    def length(video: Video) -> float:
        return last_stop_index(video, sample_fps) or float("inf")

    return max(videos, key=lambda video: (length(video), -video.index)).index


def deal_out(
    runs: Sequence[ComparedRun], videos: Sequence[Video], retention_index: int, num_chunks: int
) -> tuple[tuple[int, ...], ...]:
    """Stride the videos that any run still owes over at most `num_chunks` workers."""
    owed = {video.index for run in runs for video in run.owed(videos, retention_index)}
    pending = [video for video in videos if video.index in owed]
    num_workers = min(num_chunks, len(pending))
    dealt = [shard(pending, num_workers, worker) for worker in range(num_workers)]
    return tuple(tuple(video.index for video in part) for part in dealt)
