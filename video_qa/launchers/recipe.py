"""How a worker that is handed videos one by one comes to what watches them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os.path import expanduser, expandvars
from pathlib import Path
from typing import Any, Protocol

from video_qa.hermes_vqa import HermesVQA
from video_qa.questions.annotations import Video
from video_qa.results.prediction import Prediction
from video_qa.settings.model_registry import load_engine
from video_qa.settings.run_settings import RunSettings

Stored = Mapping[str, Mapping[int, str]]
"""Run id -> question index -> answer stored earlier; of the runs that owe something."""


@dataclass(frozen=True)
class Answered:
    """A question of a run has its prediction, be it an error."""

    run_id: str
    prediction: Prediction


@dataclass(frozen=True)
class Recorded:
    """What a memory held while it watched; for `retention.json`."""

    run_id: str
    content: Mapping[str, Any]


Reply = Answered | Recorded


class Watcher(Protocol):
    """Watches for one or several runs; the model is loaded."""

    @property
    def refused(self) -> Mapping[str, str]:
        """Run id -> why its policy cannot serve the model."""

    def watch(self, video: Video, stored: Stored) -> Iterator[Reply]:
        """Yield what each run owes, question by question. Never raises for a bad video."""

    def describe(self) -> Mapping[str, Mapping[str, Any]]:
        """Run id -> description of its engine, as far as it is known by now."""


class Recipe(Protocol):
    """Travels to the workers, so it is small and can be pickled."""

    @property
    def model(self) -> str:
        """As it was given on the command line."""

    def open(self) -> Watcher:
        """Load the model. Raises ValueError, OSError and ImportError."""


@dataclass(frozen=True)
class RunRecipe:
    """One run: one memory watches."""

    settings: RunSettings
    run_id: str
    device: str
    video_root: Path | None

    @property
    def model(self) -> str:
        return self.settings.model

    def open(self) -> RunWatcher:
        return RunWatcher(self)


class RunWatcher:
    """The question loop of one run."""

    refused: Mapping[str, str] = {}

    def __init__(self, recipe: RunRecipe) -> None:
        self._run_id = recipe.run_id
        self._model = load_engine(recipe.settings, recipe.device)
        root = expanded(recipe.video_root)
        self._vqa = HermesVQA(self._model, recipe.settings, recipe.run_id, root)

    def watch(self, video: Video, stored: Stored) -> Iterator[Reply]:
        for prediction in self._vqa.analyze_a_video(video, stored[self._run_id]):
            yield Answered(self._run_id, prediction)

    def describe(self) -> Mapping[str, Mapping[str, Any]]:
        return {self._run_id: json.loads(json.dumps(self._model.describe()))}


def expanded(root: Path | None) -> Path | None:
    """A folder with `~` and `$NAME` replaced as they stand on this machine."""
    if root is None:
        return None
    return Path(expanduser(expandvars(root)))
