"""The files of the memory inspector: table, picture, page with a slider over stream time."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eval.whole_file import write_text
from video_qa.comparison.pages.pictures import data_uri, jpeg
from video_qa.comparison.pages.retention_figure import (
    retention_panels,
    retention_picture,
    scale_figure,
)
from video_qa.comparison.pages.templates import render
from video_qa.lanes.retention import SUMMARY_FRAME, TEXT_FRAME, RetentionLog, Snapshot
from video_qa.lanes.retention_file import retention_content

WIDTH = 104
MAX_THUMBNAILS = 240
MAX_SNAPSHOTS = 48
"""What the page shows of a longer stream, evenly spread; retention.csv has all of it."""
NOT_SEEN = 255


class Thumbnails:
    """Small JPEGs of the first frame of each step."""

    def __init__(self) -> None:
        self.images: list[bytes] = []

    def add(self, frames: np.ndarray, frames_per_step: int) -> None:
        """Keep the frames (f, H, W, 3) uint8 that start a step."""
        self.images += [jpeg(frame, WIDTH) for frame in frames[::frames_per_step]]


def write_inspection(out: Path, title: str, log: RetentionLog, thumbnails: Thumbnails) -> Path:
    """Write retention.csv, retention.svg and memory.html; returns the page. Raises OSError."""
    content = retention_content(log)
    write_text(out / "retention.csv", retention_table(log).to_csv(index=False))
    write_text(out / "retention.svg", retention_picture(content, title))
    steps = _evenly(len(log.step_frames), MAX_THUMBNAILS)
    page = render(
        "memory.html",
        script="memory.js",
        title=title,
        states=page_states(log, steps),
        cards=list(_cards(log, thumbnails, steps)),
        num_frames=len(log.step_frames),
        panels_shown=retention_panels(content, "memory"),
        scale=scale_figure(),
    )
    write_text(out / "memory.html", page)
    return out / "memory.html"


def retention_table(log: RetentionLog) -> pd.DataFrame:
    """One row per snapshot, layer and frame of which anything is held."""
    parts = []
    for snapshot in log.snapshots:
        layers, steps = np.nonzero(snapshot.counts)
        found = {
            "layer": layers,
            "frame": np.array(log.step_frames)[steps],
            "frame_seconds": np.array(log.step_seconds)[steps],
            "tokens": snapshot.counts[layers, steps],
        }
        others = [_of_no_frame(SUMMARY_FRAME, snapshot.summaries)]
        if snapshot.texts is not None:
            others.append(_of_no_frame(TEXT_FRAME, snapshot.texts))
        both = pd.concat([pd.DataFrame(found), *others])
        both.insert(0, "watched_until_seconds", snapshot.seconds)
        parts.append(both.sort_values(["layer", "frame"], kind="stable"))
    return pd.concat(parts, ignore_index=True)


def _of_no_frame(number: int, tokens: np.ndarray) -> pd.DataFrame:
    """One row per layer that holds any of (l,) tokens that are no picture of one frame."""
    layers = np.nonzero(tokens)[0]
    same = {"frame": np.full(len(layers), number), "frame_seconds": np.full(len(layers), np.nan)}
    return pd.DataFrame({"layer": layers, **same, "tokens": tokens[layers]})


def page_states(log: RetentionLog, steps: np.ndarray) -> dict[str, Any]:
    """What the slider and the choice of layer show, JSON-able.

    `percents`: per choice (mean of the layers, then each layer) base64 of uint8 (snapshots, steps);
    percent of the frame's tokens still held, rounded up so that 0 means none, 255 a frame that is
    yet to come. `tokens`, `summaries` and `texts`: per choice one number per snapshot.
    """
    shown = [log.snapshots[i] for i in _evenly(len(log.snapshots), MAX_SNAPSHOTS)]
    percents = np.stack([_percents(snapshot, log, steps) for snapshot in shown], axis=1)
    return {
        "seconds": [snapshot.seconds for snapshot in shown],
        "percents": [base64.b64encode(choice.tobytes()).decode() for choice in percents],
        "tokens": _per_choice([snapshot.counts.sum(axis=1) for snapshot in shown]),
        "summaries": _per_choice([snapshot.summaries for snapshot in shown]),
        "texts": _per_choice(
            [0 * shot.summaries if shot.texts is None else shot.texts for shot in shown]
        ),
        "host_frames": [snapshot.num_host_frames for snapshot in shown],
    }


def _percents(snapshot: Snapshot, log: RetentionLog, steps: np.ndarray) -> np.ndarray:
    """(1 + l, steps) uint8."""
    found = np.full((len(snapshot.counts) + 1, len(steps)), NOT_SEEN, np.uint8)
    seen = steps < snapshot.counts.shape[1]
    counts = snapshot.counts[:, steps[seen]]
    both = np.concatenate([counts.mean(axis=0, keepdims=True), counts])
    found[:, seen] = np.ceil(100 * both / log.tokens_per_step - 1e-9)
    return found


def _per_choice(rows: list[np.ndarray]) -> list[list[float]]:
    """Snapshots of (l,) -> mean of the layers, then each layer: a list of snapshots."""
    table = np.array(rows, float)
    return np.concatenate([table.mean(axis=1, keepdims=True), table], axis=1).T.round(1).tolist()


def _evenly(length: int, limit: int) -> np.ndarray:
    """At most `limit` indices, with the first and the last one."""
    return np.linspace(0, length - 1, min(length, limit)).round().astype(int)


def _cards(
    log: RetentionLog, thumbnails: Thumbnails, steps: np.ndarray
) -> Iterator[Mapping[str, Any]]:
    """Pictures, with what is held at the end of the stream (mean of the layers)."""
    percents = _percents(log.snapshots[-1], log, steps)[0]
    for step, percent in zip(steps, percents, strict=True):
        yield {
            "frame": log.step_frames[step],
            "seconds": log.step_seconds[step],
            "picture": data_uri(thumbnails.images[step]),
            "percent": int(percent),
        }
