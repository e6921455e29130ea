"""The files of the memory inspector: table, picture, page with thumbnails."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from video_qa.comparison.page import figure_block, page
from video_qa.comparison.retention_figure import retention_figure
from video_qa.lanes.retention import SUMMARY_FRAME, RetentionLog
from video_qa.lanes.retention_file import retention_content
from video_qa.results.atomic_file import write_text_atomically

WIDTH = 104
QUALITY = 70
MAX_THUMBNAILS = 240


class Thumbnails:
    """Small JPEGs of the first frame of each step."""

    def __init__(self) -> None:
        self.images: list[bytes] = []

    def add(self, frames: np.ndarray, frames_per_step: int) -> None:
        """Keep the frames (f, H, W, 3) uint8 that start a step."""
        self.images += [_jpeg(frame) for frame in frames[::frames_per_step]]


def write_inspection(out: Path, title: str, log: RetentionLog, thumbnails: Thumbnails) -> Path:
    """Write retention.csv, retention.svg and memory.html; returns the page. Raises OSError."""
    write_text_atomically(out / "retention.csv", retention_table(log).to_csv(index=False))
    drawing = retention_figure({"memory": retention_content(log)}, title)
    write_text_atomically(out / "retention.svg", '<?xml version="1.0"?>\n' + drawing)
    caption = (
        "Left: each layer when the stream has ended. Right: mean of the layers while it is "
        "watched. Dark: forgotten, yellow: every token of the frame."
    )
    body = [
        f"<h1>{html.escape(title)}</h1>",
        figure_block("", drawing, caption),
        "<h2>Frames, and how much of each is left at the end (mean of the layers)</h2>",
        f"<div class=thumbs>{''.join(_cards(log, thumbnails))}</div>",
    ]
    path = out / "memory.html"
    write_text_atomically(path, page(title, "\n".join(body)))
    return path


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
        folded = np.nonzero(snapshot.summaries)[0]
        summaries = {
            "layer": folded,
            "frame": np.full(len(folded), SUMMARY_FRAME),
            "frame_seconds": np.full(len(folded), np.nan),
            "tokens": snapshot.summaries[folded],
        }
        both = pd.concat([pd.DataFrame(found), pd.DataFrame(summaries)])
        both.insert(0, "watched_until_seconds", snapshot.seconds)
        parts.append(both.sort_values(["layer", "frame"], kind="stable"))
    return pd.concat(parts, ignore_index=True)


def _cards(log: RetentionLog, thumbnails: Thumbnails) -> Iterator[str]:
    """Evenly chosen frames if there are too many for one page."""
    held = log.snapshots[-1].counts.mean(axis=0) / log.tokens_per_step
    count = min(len(held), MAX_THUMBNAILS)
    for step in np.linspace(0, len(held) - 1, count).round().astype(int):
        picture = base64.b64encode(thumbnails.images[step]).decode()
        percent, opacity = 100 * held[step], 0.25 + 0.75 * held[step]
        yield (
            f'<div><img alt="frame {log.step_frames[step]}" '
            f'src="data:image/jpeg;base64,{picture}" style="opacity:{opacity:.2f}">'
            f'<div class=held><span style="width:{percent:.0f}%"></span></div>'
            f"{log.step_seconds[step]:g} s: {percent:.0f} %</div>"
        )


def _jpeg(frame: np.ndarray) -> bytes:
    height = max(1, round(frame.shape[0] * WIDTH / frame.shape[1]))
    buffer = io.BytesIO()
    Image.fromarray(frame).resize((WIDTH, height)).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
