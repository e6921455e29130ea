"""Answers that workers elsewhere send back: the runner alone writes them to the disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from eval.whole_file import write_text
from video_qa.lanes.retention_file import write_retention
from video_qa.launchers.launcher import Unit, Work
from video_qa.launchers.recipe import Answered, Reply
from video_qa.results.predictions import PredictionLog
from video_qa.runner.shards import shard_stem

STEM = shard_stem(1, 0)
"""One writer, so one worker file; what is merged later need not know who watched."""


class AnswerStore:
    """Appends each answer at once to the worker file of its run; each question counts once."""

    def __init__(self, work: Work) -> None:
        """Raises PredictionsError where a file cannot be written."""
        self._folder, self._folders = work.folder, work.runs
        self._answers = {run_id: dict(work.answered.get(run_id, {})) for run_id in work.runs}
        self._failed: set[tuple[str, int, int]] = set()
        self._stack = ExitStack()
        self._logs: dict[str, PredictionLog] = {
            run_id: self._stack.enter_context(PredictionLog(folder / f"{STEM}.jsonl"))
            for run_id, folder in work.runs.items()
        }

    def take(self, reply: Reply) -> int:
        """Store a reply; returns how many questions got their first row by it (0 or 1).

        Raises:
            PredictionsError: the disk refused it; what was stored before is kept.
        """
        if not isinstance(reply, Answered):
            write_retention(self._folders[reply.run_id], reply.content)
            return 0
        prediction, run_id = reply.prediction, reply.run_id
        failed = (run_id, *prediction.key)
        is_known = prediction.key in self._answers[run_id] or failed in self._failed
        if prediction.key in self._answers[run_id] or (prediction.error and is_known):
            return 0  # of a video that was handed out again
        self._logs[run_id].append(prediction)
        if prediction.error is None:
            self._answers[run_id][prediction.key] = prediction.prediction
        else:
            self._failed.add(failed)
        return 0 if is_known else 1

    def stored(self, unit: Unit) -> dict[str, dict[int, str]]:
        """The answers to a video's questions that need not be asked again, by run."""
        return {
            run_id: {
                i: text for (v, i), text in self._answers[run_id].items() if v == unit.video.index
            }
            for run_id in unit.run_ids
        }

    def describe(self, descriptions: Mapping[str, Mapping[str, Any]]) -> None:
        """Write down what an engine says of itself."""
        for run_id, description in descriptions.items():
            path: Path = self._folders[run_id] / f"{STEM}.engine.json"
            write_text(path, json.dumps(description))

    def refuse(self, refused: Mapping[str, str]) -> None:
        """Write down which policies cannot serve the model, and why."""
        if refused:
            write_text(self._folder / f"{STEM}.refused.json", json.dumps(dict(refused)))

    def __enter__(self) -> AnswerStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()
