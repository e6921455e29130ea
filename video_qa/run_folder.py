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

from video_qa.atomic_file import write_text_atomically
from video_qa.predictions import (
    Key,
    Prediction,
    holds_other_runs,
    read_predictions,
    write_predictions,
)
from video_qa.run_settings import differences
from video_qa.shards import PREDICTIONS_FILE

logger = logging.getLogger(__name__)

LOCK_PATIENCE_SECONDS = 10.0
REPORTS = ("metrics*.json", "eval_results*.txt", "submission.csv", "results.json")
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
        unequal = differences(self.read_config().get("settings", {}), identity)
        if unequal:
            lines = "\n  ".join(unequal)
            raise RunFolderError(f"{self.path} belongs to another run:\n  {lines}\n{advice}")

    def read_config(self) -> dict[str, Any]:
        try:
            return json.loads(self.config.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunFolderError(f"cannot read {self.config}: {error}") from error

    def write_json(self, path: Path, content: Mapping[str, Any]) -> None:
        write_text_atomically(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    def clear(self) -> None:
        """Remove everything an earlier run wrote, except the judge's cache of verdicts."""
        for path in (self.predictions, self.config, self.environment):
            path.unlink(missing_ok=True)
        self.clear_reports()
        _remove(self.shard_files(""))

    def clear_reports(self) -> None:
        """Remove the merged table and all that was computed from it: it is about to change."""
        self.results.unlink(missing_ok=True)
        for pattern in REPORTS:
            _remove(list(self.path.glob(pattern)))

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
        _remove([*shards, *(path.with_suffix(".csv") for path in shards)])
        return merged

    def take_engine_description(self) -> dict[str, Any] | None:
        """What a worker wrote about its engine (``model.describe()``), removed from the folder."""
        paths = self.shard_files(".engine.json")
        described = json.loads(paths[0].read_text(encoding="utf-8")) if paths else None
        _remove(paths)
        return described


@contextlib.contextmanager
def open_run_folder(path: Path) -> Iterator[RunFolder]:
    """Create the folder if needed and hold its lock.

    Workers inherit the lock, so it is free only when the last of them has ended.

    Raises:
        RunFolderError: not writable, or another run is writing to it.
    """
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
        yield RunFolder(path, lock.fileno())


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
