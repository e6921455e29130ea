"""The figures of the report, drawn from comparison.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from video_qa.comparison.pages.svg import colour, figure_style, marker, to_svg

COLUMNS = 4
ROW_INCHES = 0.19


def accuracy_figure(numbers: Mapping[str, Any]) -> str:
    """One panel per task group: every policy at every budget with its 95 % interval."""
    rows = _rows(numbers)
    with figure_style():
        figure, panels = _panels(numbers["groups"], 0.9 + ROW_INCHES * len(rows))
        for axes, group in zip(panels, numbers["groups"], strict=False):
            for height, run in rows.items():
                if group in run["groups"]:
                    found = run["groups"][group]
                    _interval(axes, numbers, run, height, found, "accuracy_percent")
                    text = f"{found['accuracy_percent']:.0f}"
                    axes.text(117, height, text, va="center", ha="right", fontsize=7)
            axes.set(xlim=(0, 118), title=group, xlabel="accuracy in %")
            axes.set_xticks(range(0, 101, 25))
        _label_rows(figure, panels, rows)
        return to_svg(figure, "Accuracy per task group, policy and budget, with 95 % intervals")


def paired_figure(numbers: Mapping[str, Any], baseline: str) -> str | None:
    """One panel per task group: accuracy minus that of the baseline at the same budget."""
    pairs = {
        (pair["policy"], pair["kv_size"], pair["group"]): pair
        for pair in numbers["paired"]
        if pair["baseline"].split(":")[0] == baseline
    }
    if not pairs:
        return None
    rows = _rows(numbers, {(policy, kv_size) for policy, kv_size, _ in pairs})
    with figure_style():
        figure, panels = _panels(numbers["groups"], 0.9 + ROW_INCHES * len(rows))
        for axes, group in zip(panels, numbers["groups"], strict=False):
            axes.axvline(0, color="#555555", linewidth=1)
            for height, run in rows.items():
                pair = pairs.get((run["policy"], run["kv_size"], group))
                if pair:
                    _interval(axes, numbers, run, height, pair, "difference_percent")
                    axes.text(172, height, _counts(pair), va="center", ha="right", fontsize=6.5)
            axes.set(xlim=(-105, 175), title=group, xlabel=f"points above {baseline}")
            axes.set_xticks((-100, -50, 0, 50, 100))
        _label_rows(figure, panels, rows)
        return to_svg(figure, f"Accuracy minus that of {baseline} at the same budget")


def budget_figure(numbers: Mapping[str, Any]) -> str:
    """One panel per task group: accuracy over the budget, a line per policy."""
    with figure_style():
        figure, panels = _panels(numbers["groups"], 2.4)
        sizes = sorted({run["kv_size"] for run in numbers["runs"]})
        for axes, (group, lines) in zip(
            panels, numbers["accuracy_against_budget"].items(), strict=False
        ):
            for index, policy in enumerate(_policies(numbers)):
                points = lines.get(policy, [])
                _line(axes, points, index, policy)
            axes.set(ylim=(0, 102), title=group, xlabel="visual tokens per layer")
            axes.set_xscale("log", base=2)
            axes.set_xticks(sizes, [str(size) for size in sizes])
            axes.minorticks_off()
        for axes in panels[::COLUMNS]:
            axes.set_ylabel("accuracy in %")
        _legend(figure, panels)
        return to_svg(figure, "Accuracy against budget, per task group")


def trade_figure(numbers: Mapping[str, Any]) -> str | None:
    """What is seen now against what was seen: a point per policy and budget."""
    trade = numbers["perception_and_memory"]
    if not trade or not trade["points"]:
        return None
    with figure_style():
        figure = Figure(figsize=(7.5, 5.2))
        axes = figure.subplots()
        sizes = sorted({point["kv_size"] for point in trade["points"]})
        for index, policy in enumerate(_policies(numbers)):
            own = [p for p in trade["points"] if p["policy"] == policy]
            own.sort(key=lambda point: point["kv_size"])
            x = [point["perception_percent"] for point in own]
            y = [point["memory_percent"] for point in own]
            axes.plot(x, y, color=colour(index), linewidth=1, alpha=0.5)
            area = [30 + 90 * sizes.index(point["kv_size"]) for point in own]
            style: dict[str, Any] = {"marker": marker(index), "color": colour(index)}
            axes.scatter(x, y, s=area, alpha=0.85, label=policy, zorder=3, **style)
        axes.set(xlabel=f"{trade['perception']}: accuracy in %")
        axes.set(ylabel=f"{trade['memory']}: accuracy in %")
        axes.margins(0.08)
        shown = ", ".join(str(size) for size in sizes)
        axes.set_title(f"upper right is better; larger marks: larger budget ({shown} tokens)")
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), markerscale=0.8)
        return to_svg(figure, "Perception against memory, a point per policy and budget")


def _policies(numbers: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(run["policy"] for run in numbers["runs"]))


def _rows(
    numbers: Mapping[str, Any], only: set[tuple[str, int]] | None = None
) -> dict[float, Mapping[str, Any]]:
    """Height -> run, policies from above, budgets of a policy close together."""
    runs = [
        run for run in numbers["runs"] if only is None or (run["policy"], run["kv_size"]) in only
    ]
    heights: dict[float, Mapping[str, Any]] = {}
    height, before = 0.0, None
    order = {policy: number for number, policy in enumerate(_policies(numbers))}
    for run in sorted(runs, key=lambda run: (order[run["policy"]], run["kv_size"])):
        height -= 1.0 if run["policy"] == before else 1.6
        before = run["policy"]
        heights[height] = run
    return heights


def _panels(groups: Mapping[str, Any], height: float) -> tuple[Figure, list[Axes]]:
    columns = min(COLUMNS, len(groups))
    lines = -(-len(groups) // columns)
    figure = Figure(figsize=(3.0 * columns, height * lines + 0.3), layout="constrained")
    grid = np.atleast_1d(figure.subplots(lines, columns, sharey=True)).ravel()
    for axes in grid[len(groups) :]:
        axes.set_axis_off()
    return figure, list(grid[: len(groups)])


def _interval(
    axes: Axes,
    numbers: Mapping[str, Any],
    run: Mapping[str, Any],
    height: float,
    found: Mapping[str, Any],
    name: str,
) -> None:
    index = _policies(numbers).index(run["policy"])
    style: dict[str, Any] = {"color": colour(index)}
    low, high = found["interval95_percent"] or (found[name], found[name])
    axes.plot((low, high), (height, height), linewidth=1.6, alpha=0.55, **style)
    axes.plot(found[name], height, marker=marker(index), markersize=4.5, **style)


def _label_rows(
    figure: Figure, panels: Sequence[Axes], rows: Mapping[float, Mapping[str, Any]]
) -> None:
    labels = [f"{run['policy']}  {run['kv_size']}" for run in rows.values()]
    for number, axes in enumerate(panels):
        axes.set_yticks(list(rows), labels, fontsize=7.5)
        axes.tick_params(axis="y", length=0, labelleft=number % COLUMNS == 0)
        axes.grid(axis="y", visible=False)
        axes.set_ylim(min(rows, default=-1) - 0.8, -0.6)
    figure.supylabel("policy and budget in visual tokens per layer", fontsize=8)


def _counts(pair: Mapping[str, Any]) -> str:
    p = pair["mcnemar_p"]
    shown = "p<.001" if p < 0.001 else f"p={p:.3f}".replace("0.", ".", 1)
    return f"{pair['only_policy_right']}:{pair['only_baseline_right']}  {shown}"


def _line(axes: Axes, points: Sequence[Mapping[str, Any]], index: int, policy: str) -> None:
    x = [point["kv_size"] for point in points]
    y = [point["accuracy_percent"] for point in points]
    width = 2.6 if index == 0 else 1.4
    axes.plot(
        x,
        y,
        color=colour(index),
        marker=marker(index),
        markersize=5,
        linewidth=width,
        label=policy,
        zorder=4 if index == 0 else 3,
    )


def _legend(figure: Figure, panels: Sequence[Axes]) -> None:
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(6, len(labels)))
