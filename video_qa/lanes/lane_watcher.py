"""A worker of a comparison, wherever it runs: one model, all memories, one video after another."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from video_qa.lanes.lanes import Lane, SharedWatch
from video_qa.lanes.plan import ComparedRun
from video_qa.lanes.retention import RetentionLog
from video_qa.lanes.retention_file import recorded_content
from video_qa.lanes.turns import LANES
from video_qa.launchers.recipe import Answered, Recorded, Reply, Stored, expanded
from video_qa.questions.annotations import Video
from video_qa.settings.model_registry import load_engine
from video_qa.settings.policy_spec import named_fields
from video_qa.settings.run_settings import IN_ORDER, RunSettings

logger = logging.getLogger(__name__)

PLAIN_POLICY = "recent"
"""Loads the model; each lane then names its own."""


def encoder_settings(runs: Sequence[ComparedRun]) -> RunSettings:
    """With which the model is loaded that encodes the frames for all runs."""
    return replace(runs[0].settings, policy=PLAIN_POLICY)


@dataclass(frozen=True)
class ComparisonRecipe:
    """Several runs, one video-encoding for all."""

    runs: tuple[ComparedRun, ...]
    device: str
    video_root: Path | None
    retention_index: int

    @property
    def model(self) -> str:
        return self.runs[0].settings.model

    def open(self) -> LaneWatcher:
        encoder = load_engine(encoder_settings(self.runs), self.device)
        return LaneWatcher(encoder, self.runs, expanded(self.video_root), self.retention_index)


class LaneWatcher:
    """Lets every run that owes something about a video watch it."""

    def __init__(
        self,
        encoder: Any,
        runs: Sequence[ComparedRun],
        video_root: Path | None,
        retention_index: int,
    ) -> None:
        self._shared = SharedWatch(encoder, runs[0].settings, video_root)
        self._retention_index = retention_index
        self._lanes: dict[str, Lane] = {}
        self.refused: dict[str, str] = {}
        for run in runs:
            try:
                stream = encoder.new_stream(**named_fields(run.settings))
                self._lanes[run.run_id] = LANES[run.settings.turns](
                    stream, run.settings, run.run_id
                )
            except ValueError as error:
                logger.error("%s: %s", run.label, error)
                self.refused[run.run_id] = str(error)

    def watch(self, video: Video, stored: Stored) -> Iterator[Reply]:
        logger.info("video %s: %s", video.video_id, video.video_path)
        owing = {self._lanes[name]: stored[name] for name in self._lanes if name in stored}
        is_recorded = video.index == self._retention_index
        for lane in owing:
            wanted = is_recorded and lane.settings.turns == IN_ORDER
            lane.retention = RetentionLog() if wanted else None
        for lane, prediction in self._shared.analyze(video, owing):
            yield Answered(lane.run_id, prediction)
        for lane in owing:
            content = lane.retention and recorded_content(lane.run_id, video, lane.retention)
            if content:
                yield Recorded(lane.run_id, content)

    def describe(self) -> Mapping[str, Mapping[str, Any]]:
        return {
            name: json.loads(json.dumps(lane.model.describe()))
            for name, lane in self._lanes.items()
        }
