"""`retention.json` in a run's folder: what its memory held of one video, small enough to plot."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from eval.whole_file import write_text
from video_qa.json_input.json_text import json_object
from video_qa.lanes.retention import RetentionLog, Snapshot, bin_starts, binned_mean
from video_qa.questions.annotations import Video

FILE_NAME = "retention.json"
MAX_BINS = 120


def write_retention(folder: Path, content: Mapping[str, Any]) -> None:
    """Store what `recorded_content` made."""
    write_text(folder / FILE_NAME, json.dumps(content))


def recorded_content(run_id: str, video: Video, log: RetentionLog) -> dict[str, Any] | None:
    """The log of one video of a run; None if nothing was watched."""
    if not log.snapshots:
        return None
    whose = {"run_id": run_id, "video_index": video.index, "video_id": video.video_id}
    return whose | retention_content(log)


def retention_content(log: RetentionLog) -> dict[str, Any]:
    """A log, binned to at most `MAX_BINS` moments.

    Shares are kept tokens / tokens of the frame, 0 to 1. `by_layer` is the last state (layer,
    moment); `over_time` the mean over layers (snapshot, moment), None where the moment is yet to
    come. `texts`, where frames have text of their own: its tokens in each layer at the end.
    """
    last = log.snapshots[-1]
    starts = bin_starts(last.counts.shape[1], MAX_BINS)
    return {
        "moment_seconds": [log.step_seconds[start] for start in starts],
        "end_seconds": last.seconds,
        "by_layer": _rounded(_shares(last, log, len(log.step_frames))),
        "snapshot_seconds": [snapshot.seconds for snapshot in log.snapshots],
        "over_time": [_mean_shares(snapshot, log) for snapshot in log.snapshots],
        "summaries": last.summaries.tolist(),
        "num_host_frames": last.num_host_frames,
        **({} if last.texts is None else {"texts": last.texts.tolist()}),
    }


def read_retention(folder: Path, run_id: str) -> dict[str, Any] | None:
    """The stored content; None if it is missing, unreadable or of another run."""
    content = json_object(folder / FILE_NAME)
    return content if content and content.get("run_id") == run_id else None


def _shares(snapshot: Snapshot, log: RetentionLog, num_steps: int) -> np.ndarray:
    """(l, bins) with steps that are yet to come as NaN."""
    shares = np.full((len(snapshot.counts), num_steps), np.nan)
    shares[:, : snapshot.counts.shape[1]] = snapshot.counts / log.tokens_per_step
    return binned_mean(shares, MAX_BINS)


def _mean_shares(snapshot: Snapshot, log: RetentionLog) -> list[float | None]:
    mean = _shares(snapshot, log, len(log.step_frames)).mean(axis=0)
    return [None if np.isnan(share) else round(float(share), 4) for share in mean]


def _rounded(shares: np.ndarray) -> list[list[float]]:
    return [[round(float(share), 4) for share in row] for row in shares]
