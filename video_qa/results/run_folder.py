"""The folder of one run: who may write to it, what it belongs to, what is merged in it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from eval.whole_file import drafts_in, write_text
from video_qa.json_input.json_text import json_object
from video_qa.results.prediction import Key, Prediction
from video_qa.results.predictions import holds_other_runs, read_predictions, write_predictions
from video_qa.runner.shards import PREDICTIONS_FILE
from video_qa.settings.run_settings import differences

logger = logging.getLogger(__name__)

LOCK_PATIENCE_SECONDS = 10.0
MARKER = ".hermes-run"
"""A folder with this file was made by this program, which may delete its own files in it."""
REPORTS = (
    "metrics.json",
    "eval_results.txt",
    "eval_results_ovo_forward.txt",
    "eval_results_videomme.txt",
    "eval_results_words.txt",
    "eval_results_judge_free.txt",
    "submission.csv",
    "results.json",
)
SHARD_FILE = re.compile(r"\d+_\d+\.(jsonl|csv|engine\.json)")


class RunFolderError(ValueError):
    """The results folder cannot be used for this run."""


class RunFolder:
    """Files of one run; made by ``open_run_folder``."""

    def __init__(self, path: Path, lock_descriptor: int) -> None:
        self.path, self.lock_descriptor = path, lock_descriptor
        self.predictions = path / PREDICTIONS_FILE
        self.results = path / "results.csv"
        self.config = path / "config.json"
        self.environment = path / "environment.json"
        self.logs = path / "logs"
        self.marker = path / MARKER

    def check_own(self) -> None:
        """Refuse a folder whose files would be overwritten although no run wrote them.

        Raises:
            RunFolderError: names the files.
        """
        # Before there were markers, config.json said so.
        if self.marker.exists() or {"run_id", "settings"} <= set(json_object(self.config) or ()):
            return
        own = (self.results, self.predictions, self.config, self.environment)
        named = [*own, *(self.path / name for name in REPORTS)]
        tables = [p for p in self.shard_files(".csv") if not p.with_suffix(".jsonl").exists()]
        if foreign := [path.name for path in (*named, *tables) if path.exists()]:
            raise RunFolderError(
                f"{self.path} holds {', '.join(foreign)} but no {MARKER} and no config.json of a "
                "run, so they were not made by this program and are left alone, --overwrite or "
                "not; move them, or choose another --results_root or --save_dir"
            )

    def claim(self) -> None:
        """Mark the folder as ours and remove what killed processes were writing in it."""
        for draft in list(drafts_in(self.path)):
            draft.unlink(missing_ok=True)
        if not self.marker.exists():
            write_text(self.marker, "Written by video_qa; --overwrite empties it.\n")

    def shard_files(self, ending: str) -> list[Path]:
        """Files that workers wrote, such as ``8_0.jsonl``."""
        candidates = sorted(self.path.glob(f"*{ending}"))
        return [path for path in candidates if SHARD_FILE.fullmatch(path.name)]

    def check_belongs_to(self, identity: Mapping[str, Any]) -> None:
        """Refuse a folder that holds results of another run.

        Raises:
            RunFolderError: names everything that differs.
        """
        advice = "use --overwrite to start again, or another --results_root or --save_dir"
        if not self.config.exists():
            foreign = [p.name for p in (self.results, self.predictions) if p.exists()]
            if foreign:
                raise RunFolderError(
                    f"{self.path} holds {', '.join(foreign)} but no config.json, so these results "
                    f"were not made by this program; {advice}"
                )
            return
        unequal = differences(self.read_config()["settings"], identity)
        if unequal:
            lines = "\n  ".join(unequal)
            raise RunFolderError(f"{self.path} belongs to another run:\n  {lines}\n{advice}")

    def read_config(self) -> dict[str, Any]:
        """What config.json holds. Raises RunFolderError, naming what is damaged."""
        from video_qa.results.stored import config_of  # needs pydantic

        try:
            return config_of(self.config)
        except (OSError, ValueError) as error:
            raise RunFolderError(
                f"cannot read {self.config}: {error}; repair it, or use --overwrite"
            ) from error

    def write_json(self, path: Path, content: Mapping[str, Any]) -> None:
        write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    def clear(self) -> None:
        """Remove everything an earlier run wrote, except the judge's cache of verdicts."""
        self.clear_reports()
        _remove([*self.shard_files(""), self.predictions, self.environment, self.config])

    def clear_reports(self) -> None:
        """Remove the merged table and all that was computed from it: it is about to change."""
        _remove([self.results, *(self.path / name for name in REPORTS)])

    def merge_shards(self, run_id: str) -> dict[Key, Prediction]:
        """Move what workers left behind into ``predictions.jsonl``; returns all predictions.

        A shard of another run is never merged but set aside as ``8_0.jsonl.stale``.
        """
        for path in self.shard_files(".jsonl"):
            if holds_other_runs(path, run_id):
                path.rename(path.with_name(f"{path.name}.stale"))
                logger.warning("%s belongs to another run; set aside as .stale", path)
        shards = self.shard_files(".jsonl")
        merged = read_predictions([self.predictions, *shards], run_id)
        write_predictions(self.predictions, merged.values())
        _remove([*self.shard_files(".csv"), *shards])  # tables are made of what is merged
        return merged

    def take_engine_description(self) -> None:
        """Move what a worker wrote about its engine (``model.describe()``) into config.json."""
        paths = self.shard_files(".engine.json")
        if paths and self.config.exists():
            described = json.loads(paths[0].read_text(encoding="utf-8"))
            self.write_json(self.config, self.read_config() | {"engine": described})
        _remove(paths)


@contextlib.contextmanager
def open_run_folder(path: Path) -> Iterator[RunFolder]:
    """Create the folder if needed and hold its lock.

    Workers inherit the lock, so it is free only when the last of them has ended.

    Raises:
        RunFolderError: not writable, files of others in it, or another run is writing to it.
    """
    RunFolder(path, -1).check_own()
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = (path / ".lock").open("a")
    except OSError as error:
        raise RunFolderError(
            f"cannot write to the results folder {path}: {error.strerror or error}; choose another "
            "with --results_root or --save_dir"
        ) from error
    with lock:
        _acquire(lock.fileno(), path)
        folder = RunFolder(path, lock.fileno())
        folder.claim()
        yield folder


def _acquire(descriptor: int, path: Path) -> None:
    # A runner that was killed a moment ago takes its workers with it, but not instantly.
    deadline = time.monotonic() + LOCK_PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise RunFolderError(f"another run is writing to {path}; wait for it") from None
            time.sleep(0.1)
        except OSError as error:
            logger.warning("%s cannot be locked (%s); start no second run there", path, error)
            return


def _remove(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
