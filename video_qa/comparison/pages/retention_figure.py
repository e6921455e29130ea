"""Retention maps: which moments a memory still holds, by layer and over stream time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from video_qa.comparison.pages.svg import figure_style, to_svg

COLOUR_MAP = "viridis"


def retention_figure(maps: Mapping[str, Mapping[str, Any]], title: str) -> str:
    """Two panels per memory.

    Args:
        maps: label -> content of retention.json, all of the same video.
        title: what is read out where the picture cannot be seen.
    """
    with figure_style():
        figure = Figure(figsize=(12, 1.9 * len(maps) + 0.6), layout="constrained")
        rows = np.atleast_2d(figure.subplots(len(maps), 2))
        image: Any = None
        for (by_layer, over_time), (label, content) in zip(rows, maps.items(), strict=True):
            image = draw_layers(by_layer, content, f"{label}: at the end")
            draw_history(over_time, content, f"{label}: while watching")
        for axes in rows[-1]:
            axes.set_xlabel("moment of the stream in seconds")
        bar = figure.colorbar(image, ax=rows.ravel().tolist(), shrink=min(1.0, 2.5 / len(maps)))
        bar.set_label("share of a frame's tokens still held")
        bar.set_ticks([0, 0.25, 0.5, 0.75, 1])
        return to_svg(figure, title)


def draw_layers(axes: Axes, content: Mapping[str, Any], title: str) -> Any:
    """Layer over moment, at the end of the stream; the image."""
    shares = np.array(content["by_layer"])
    first, last = _span(content)
    return _image(axes, shares, (first, last, -0.5, len(shares) - 0.5), title, "layer")


def draw_history(axes: Axes, content: Mapping[str, Any], title: str) -> Any:
    """Stream time over moment, mean of the layers; the image."""
    shares = np.array(
        [[np.nan if share is None else share for share in row] for row in content["over_time"]]
    )
    seconds = content["snapshot_seconds"]
    first, last = _span(content)
    extent = (first, last, seconds[0], max(seconds[-1], seconds[0] + 1))
    return _image(axes, shares, extent, title, "watched until (s)")


def _span(content: Mapping[str, Any]) -> tuple[float, float]:
    moments: Sequence[float] = content["moment_seconds"]
    return moments[0], max(content["end_seconds"], moments[0] + 1)


def _image(
    axes: Axes,
    shares: np.ndarray,
    extent: tuple[float, float, float, float],
    title: str,
    y_label: str,
) -> Any:
    # The root makes a single token of a frame visible beside whole frames.
    image = axes.imshow(
        shares,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=extent,
        cmap=COLOUR_MAP,
        norm=PowerNorm(0.5, vmin=0, vmax=1),
    )
    axes.set(title=title, ylabel=y_label)
    axes.grid(visible=False)
    return image
