"""Two drawings, a panel per degree: accuracy against the budget, far past against recent past."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from eval.multiple_choice.task_groups import ALL
from reproduction.degrees.results import main_budget
from video_qa.comparison.arguments import FLOORS
from video_qa.comparison.pages.svg import colour, figure_style, marker, panel, to_svg

MOST_COLOURED = 8
"""Memories with a colour and a name; the others are grey."""
GREY = "#9aa0a6"
PANEL_POINTS = (230.0, 190.0)
LEGEND_POINTS = 46.0


def all_questions(accuracies: pd.DataFrame, ours: str) -> str:
    """Accuracy over all questions against the budget, at the first length."""
    rows = _main(accuracies)
    rows = rows[rows["group"] == ALL]

    def draw(axes: Axes, own: pd.DataFrame, style: dict[str, Any]) -> None:
        points = own.sort_values("kv_size")
        axes.plot(points["kv_size"], points["accuracy_percent"], markersize=4, **style)
        axes.set_xscale("log", base=2)
        sizes = sorted(set(rows["kv_size"]))
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.minorticks_off()

    labels = ("visual tokens per layer", "all questions: accuracy in %")
    return _panels(
        rows,
        _coloured(accuracies, ours),
        draw,
        labels,
        "Accuracy over all questions against the budget",
    )


def far_against_recent(accuracies: pd.DataFrame, ours: str) -> str:
    """A point per memory at the middle budget."""
    rows = _main(accuracies)
    rows = rows[rows["kv_size"] == main_budget(rows)]

    def draw(axes: Axes, own: pd.DataFrame, style: dict[str, Any]) -> None:
        recent, far = (own[own["group"] == name] for name in ("recent past", "far past"))
        points = (recent["accuracy_percent"], far["accuracy_percent"])
        axes.plot(*points, markersize=6, **style)

    labels = ("recent past: accuracy in %", "far past: accuracy in %")
    return _panels(rows, _coloured(accuracies, ours), draw, labels, "Far past against recent past")


def _main(accuracies: pd.DataFrame) -> pd.DataFrame:
    own = accuracies[(accuracies["part"] == "memories") & ~accuracies["policy"].isin(FLOORS)]
    return own[own["length"] == own["length"].iloc[0]]


def _coloured(accuracies: pd.DataFrame, ours: str) -> list[str]:
    """Ours, then the best over all questions, budgets and degrees."""
    rows = _main(accuracies)
    means = (
        rows[rows["group"] == ALL]
        .groupby("policy")["accuracy_percent"]
        .mean()
        .sort_values(ascending=False)
    )
    names = [ours, *means.index.drop(ours)] if ours in means.index else list(means.index)
    return names[:MOST_COLOURED]


def _panels(
    rows: pd.DataFrame,
    named: Sequence[str],
    draw: Callable[[Axes, pd.DataFrame, dict[str, Any]], None],
    labels: Sequence[str],
    title: str,
) -> str:
    degrees = list(dict.fromkeys(rows["degree"]))
    across = min(2, len(degrees))
    down = -(-len(degrees) // across)
    wide, high = PANEL_POINTS
    height = high * down + LEGEND_POINTS
    with figure_style():
        figure = panel(height, wide * across)
        top = 1 - LEGEND_POINTS / height
        for number, degree in enumerate(degrees):
            y, x = divmod(number, across)
            corner = ((x + 0.18) / across, top * (1 - (y + 0.78) / down))
            axes = figure.add_axes((*corner, 0.76 / across, top * 0.64 / down))
            axes.set(title=degree, xlabel=labels[0], ylabel=labels[1])
            own = rows[rows["degree"] == degree]
            for policy in [*sorted(set(own["policy"]) - set(named)), *reversed(named)]:
                draw(axes, own[own["policy"] == policy], _style(policy, named, number == 0))
        handles, texts = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles[::-1], texts[::-1], loc="upper center", ncols=4, frameon=False)
        return to_svg(figure, title) + "\n"


def _style(policy: str, named: Sequence[str], is_first: bool) -> dict[str, Any]:
    if policy not in named:
        return {"color": GREY, "marker": ".", "linewidth": 0.8, "zorder": 2}
    index = named.index(policy)
    width = 2.4 if index == 0 else 1.3
    label = {"label": policy} if is_first else {}
    return {
        "color": colour(index),
        "marker": marker(index),
        "linewidth": width,
        "zorder": 3,
    } | label
