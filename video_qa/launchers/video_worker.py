"""The worker that is handed videos: an actor elsewhere, driven call by call."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from video_qa.launchers.launcher import Unit
from video_qa.launchers.node_facts import Facts, node_facts
from video_qa.launchers.recipe import Answered, Recipe, Reply, Stored, Watcher

Descriptions = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Ready:
    """The model is loaded."""

    node: str
    descriptions: Descriptions
    refused: Mapping[str, str]


@dataclass(frozen=True)
class Watched:
    """The video is at its end."""

    descriptions: Descriptions


class VideoWorker:
    """Answers one call with one reply, so that the caller has stored it before the next question.

    A worker that dies therefore takes with it the question it was at, and no other.
    """

    def __init__(self, recipe: Recipe, node: str, directory: Path) -> None:
        """`directory`: relative paths count from there, if this machine has it."""
        self._recipe, self._node, self._directory = recipe, node, directory
        self._watcher: Watcher | None = None
        self._replies: Iterator[Reply] = iter(())

    def look(self) -> tuple[str, Facts]:
        """Where this worker is, and what must be the same everywhere; loads nothing."""
        if self._directory.is_dir():
            os.chdir(self._directory)
        return self._node, node_facts(self._recipe.model)

    def load(self) -> Ready:
        """Load the model, once. Raises what the engine raises."""
        if self._watcher is None:
            logging.basicConfig(
                level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
            )
            self._watcher = self._recipe.open()
        return Ready(self._node, self._watcher.describe(), self._watcher.refused)

    def watch(self, unit: Unit, stored: Stored) -> Reply | Watched:
        """Begin a video; returns the first reply about it."""
        assert self._watcher is not None, "load first"
        self._replies = self._watcher.watch(unit.video, stored)
        return self.go_on()

    def go_on(self) -> Reply | Watched:
        """The next reply about the video."""
        assert self._watcher is not None
        reply = next(self._replies, None)
        return Watched(self._watcher.describe()) if reply is None else self._signed(reply)

    def _signed(self, reply: Reply) -> Reply:
        """An error names the machine: a video may be missing on one of them only."""
        if not isinstance(reply, Answered) or reply.prediction.error is None:
            return reply
        error = f"{reply.prediction.error} (node {self._node})"
        return replace(reply, prediction=replace(reply.prediction, error=error))
