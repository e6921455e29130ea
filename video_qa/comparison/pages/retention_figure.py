"""Retention maps: which moments a memory still holds, by layer and over stream time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import PowerNorm

from video_qa.comparison.pages.figures import Panel
from video_qa.comparison.pages.svg import POINTS_WIDE, figure_style, panel, to_svg

COLOUR_MAP = "viridis"
SCALE = PowerNorm(0.5, vmin=0, vmax=1)
"""The root makes a single token of a frame visible beside whole frames."""
HEIGHT_POINTS = 150.0
BOX = (0.2, 0.22, 0.73, 0.74)


def retention_panels(content: Mapping[str, Any], label: str) -> list[Panel]:
    """A memory at the end of a stream, and while it was watched.

    Args:
        content: of retention.json.
        label: names the memory.
    """
    found = []
    for draw, when in ((draw_layers, "at the end"), (draw_history, "while watching")):
        with figure_style():
            figure = panel(HEIGHT_POINTS)
            draw(figure.add_axes(BOX), content)
            title = f"{label}: {when}"
            found.append(Panel(title, to_svg(figure, f"Share of frames held by {title}")))
    return found


def retention_picture(content: Mapping[str, Any], label: str) -> str:
    """Both side by side, as a file of its own."""
    with figure_style():
        figure = panel(HEIGHT_POINTS, 2 * POINTS_WIDE)
        for number, draw in enumerate((draw_layers, draw_history)):
            left, bottom, width, height = BOX
            draw(figure.add_axes(((left + number) / 2, bottom, width / 2, height)), content)
        return f'<?xml version="1.0"?>\n{to_svg(figure, label)}'


def scale_figure() -> str:
    """What the colours mean."""
    with figure_style():
        figure = panel(44)
        axes = figure.add_axes((0.03, 0.72, 0.87, 0.26))
        colours = ScalarMappable(SCALE, COLOUR_MAP)
        bar = figure.colorbar(colours, axes, orientation="horizontal")
        bar.set_ticks([0, 0.1, 0.25, 0.5, 1], labels=["0", "10", "25", "50", "100 %"])
        bar.set_label("share of a frame's tokens still held")
        return to_svg(figure, "Colours: share of a frame's tokens that is still held")


def draw_layers(axes: Axes, content: Mapping[str, Any]) -> None:
    """Layer over moment, at the end of the stream."""
    shares = np.array(content["by_layer"])
    first, last = _span(content)
    _image(axes, shares, (first, last, -0.5, len(shares) - 0.5), "layer")


def draw_history(axes: Axes, content: Mapping[str, Any]) -> None:
    """Stream time over moment, mean of the layers."""
    shares = np.array(
        [[np.nan if share is None else share for share in row] for row in content["over_time"]]
    )
    seconds = content["snapshot_seconds"]
    first, last = _span(content)
    extent = (first, last, seconds[0], max(seconds[-1], seconds[0] + 1))
    _image(axes, shares, extent, "watched until (s)")


def _span(content: Mapping[str, Any]) -> tuple[float, float]:
    moments: Sequence[float] = content["moment_seconds"]
    return moments[0], max(content["end_seconds"], moments[0] + 1)


def _image(
    axes: Axes, shares: np.ndarray, extent: tuple[float, float, float, float], y_label: str
) -> None:
    axes.imshow(
        shares,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=extent,
        cmap=COLOUR_MAP,
        norm=SCALE,
    )
    axes.set(xlabel="moment of the stream in seconds", ylabel=y_label)
    axes.locator_params(axis="both", nbins=5)
    axes.grid(visible=False)
