"""Rows of a panel: a policy's name on lines of its own, below it a row per budget."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from video_qa.comparison.pages.intervals import MARK, is_weak
from video_qa.comparison.pages.svg import PAPER, POINTS_WIDE, colour, marker, panel

LINE_POINTS = 14.0
GAP_POINTS = 5.0
LEFT_POINTS = 42.0
FOOT_POINTS = 34.0
NAME_CHARACTERS = 42


@dataclass(frozen=True)
class Rows:
    """Where everything stands, in points below the top of the axes."""

    names: Mapping[float, str]
    """Lines of the policies' names."""
    runs: Mapping[float, Mapping[str, Any]]
    height: float


def lay_out(runs: Iterable[Mapping[str, Any]]) -> Rows:
    """Policies in the order in which they come, the budgets of each from small to large."""
    names, placed, y = {}, {}, 0.0
    by_policy: dict[str, list[Mapping[str, Any]]] = {}
    for run in runs:
        by_policy.setdefault(run["policy"], []).append(run)
    for policy, own in by_policy.items():
        y += GAP_POINTS
        for line in wrapped(policy):
            names[y + LINE_POINTS / 2] = line
            y += LINE_POINTS
        for run in sorted(own, key=lambda run: run["kv_size"]):
            placed[y + LINE_POINTS / 2] = run
            y += LINE_POINTS
    return Rows(names, placed, y + GAP_POINTS)


def wrapped(policy: str) -> list[str]:
    """A policy's text on lines that fit a panel, cut before options where that is possible."""
    lines = [""]
    for part in _parts(policy):
        if lines[-1] and len(lines[-1] + part) > NAME_CHARACTERS:
            lines.append("  ")
        lines[-1] += part
    return lines


def _parts(policy: str) -> Iterator[str]:
    for part in re.findall(r"^[^:]+|:[^:]*", policy):
        yield from textwrap.wrap(part, NAME_CHARACTERS - 2)


def row_axes(rows: Rows, right_points: float) -> tuple[Figure, Axes]:
    """A panel whose axes have the names and budgets written; room for texts at the right."""
    figure = panel(rows.height + FOOT_POINTS)
    whole = rows.height + FOOT_POINTS
    width = POINTS_WIDE - LEFT_POINTS - right_points
    box = (LEFT_POINTS / POINTS_WIDE, FOOT_POINTS / whole, width / POINTS_WIDE, rows.height / whole)
    axes = figure.add_axes(box)
    axes.set_ylim(rows.height, 0)
    axes.set_yticks(list(rows.runs), [str(run["kv_size"]) for run in rows.runs.values()])
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    box_style = {"facecolor": PAPER, "edgecolor": "none", "pad": 1}
    for y, line in rows.names.items():
        _write(axes, line, 1, y, fontweight="bold", bbox=box_style)  # grid lines end at the name
    return figure, axes


def draw_interval(axes: Axes, y: float, found: Mapping[str, Any], name: str, index: int) -> None:
    """Mark and 95 % interval, dotted where it comes from few videos."""
    style: dict[str, Any] = {"color": colour(index), "clip_on": False}
    low, high = found["interval95_percent"] or (found[name], found[name])
    line = (0, (1, 1.2)) if is_weak(found) else "-"
    axes.plot((low, high), (y, y), linewidth=1.8, alpha=0.7, linestyle=line, **style)
    axes.plot(found[name], y, marker=marker(index), markersize=4.5, **style)


def write_right(axes: Axes, y: float, text: str, found: Mapping[str, Any]) -> None:
    """A text at the right edge of the panel, marked where its interval is weak."""
    shown = f"{text}{MARK}" if is_weak(found) else text
    _write(axes, shown, POINTS_WIDE - 2, y, ha="right")


def _write(axes: Axes, text: str, x_points: float, y: float, **style: Any) -> None:
    """A text in a row of the axes, at a distance from the left edge of the figure."""
    place: Any = ("figure points", "data")
    axes.annotate(text, (x_points, y), xycoords=place, va="center", annotation_clip=False, **style)
