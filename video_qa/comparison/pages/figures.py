"""The figures of the report, drawn from comparison.json: one panel each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import floor
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from video_qa.comparison.pages.rows import Rows, draw_interval, lay_out, row_axes, write_right
from video_qa.comparison.pages.svg import colour, figure_style, marker, panel, to_svg

MAX_TICKS = 6


class Panel(NamedTuple):
    """A drawing under its title."""

    title: str
    drawing: str


def accuracy_panels(numbers: Mapping[str, Any]) -> list[Panel]:
    """One panel per task group: every policy at every budget with its 95 % interval."""
    rows = lay_out(numbers["runs"])

    def draw(group: str) -> Figure:
        figure, axes = row_axes(rows, right_points=34)
        for y, run in rows.runs.items():
            if found := run["groups"].get(group):
                draw_interval(axes, y, found, "accuracy_percent", _index(numbers, run))
                write_right(axes, y, f"{found['accuracy_percent']:.0f}", found)
        axes.set(xlim=(0, 100), xticks=range(0, 101, 25), xlabel="accuracy in %")
        return figure

    return _per_group(numbers, draw, "Accuracy per policy and budget, with 95 % intervals")


def paired_panels(numbers: Mapping[str, Any], baseline: str) -> list[Panel]:
    """One panel per task group: accuracy minus that of the baseline at the same budget."""
    pairs = {
        (pair["policy"], pair["kv_size"], pair["group"]): pair
        for pair in numbers["paired"]
        if pair["baseline"].split(":")[0] == baseline
    }
    compared = {(policy, kv_size) for policy, kv_size, _ in pairs}
    runs = [run for run in numbers["runs"] if (run["policy"], run["kv_size"]) in compared]
    rows = lay_out(runs)

    def draw(group: str) -> Figure:
        figure, axes = _difference_axes(rows, baseline)
        for y, run in rows.runs.items():
            if pair := pairs.get((run["policy"], run["kv_size"], group)):
                draw_interval(axes, y, pair, "difference_percent", _index(numbers, run))
                write_right(axes, y, _counts(pair), pair)
        return figure

    label = f"Accuracy minus that of {baseline} at the same budget"
    return _per_group(numbers, draw, label) if runs else []


def budget_panels(numbers: Mapping[str, Any]) -> list[Panel]:
    """One panel per task group: accuracy over the budget, a line per policy."""
    sizes = sorted({run["kv_size"] for run in numbers["runs"]})

    def draw(group: str) -> Figure:
        figure = panel(190)
        axes = figure.add_axes((0.175, 0.19, 0.77, 0.75))
        for index, policy in enumerate(_policies(numbers)):
            points = numbers["accuracy_against_budget"][group].get(policy, [])
            x = [point["kv_size"] for point in points]
            y = [point["accuracy_percent"] for point in points]
            style: dict[str, Any] = {"color": colour(index), "marker": marker(index)}
            width, order = (2.6, 4) if index == 0 else (1.4, 3)
            axes.plot(x, y, markersize=5, linewidth=width, zorder=order, clip_on=False, **style)
        axes.set(ylim=(0, 100), yticks=range(0, 101, 25), ylabel="accuracy in %")
        axes.set(xlabel="visual tokens per layer")
        axes.set_xscale("log", base=2)
        shown = sizes[:: -(-len(sizes) // MAX_TICKS)]
        axes.set_xticks(shown, [str(size) for size in shown])
        axes.minorticks_off()
        axes.margins(x=0.08)
        return figure

    return _per_group(numbers, draw, "Accuracy against budget")


def trade_figure(numbers: Mapping[str, Any]) -> str | None:
    """What is seen now against what was seen: a point per policy and budget."""
    trade = numbers["perception_and_memory"]
    if not trade or not trade["points"]:
        return None
    sizes = sorted({point["kv_size"] for point in trade["points"]})
    with figure_style():
        figure = panel(240)
        axes = figure.add_axes((0.175, 0.16, 0.77, 0.79))
        for index, policy in enumerate(_policies(numbers)):
            own = [point for point in trade["points"] if point["policy"] == policy]
            own.sort(key=lambda point: point["kv_size"])
            x = [point["perception_percent"] for point in own]
            y = [point["memory_percent"] for point in own]
            style: dict[str, Any] = {"color": colour(index), "clip_on": False}
            axes.plot(x, y, linewidth=1, alpha=0.5, **style)
            area = [16 + 30 * sizes.index(point["kv_size"]) for point in own]
            axes.scatter(x, y, s=area, marker=marker(index), alpha=0.85, zorder=3, **style)
        axes.set_xlim(_start([point["perception_percent"] for point in trade["points"]]), 100)
        axes.set_ylim(_start([point["memory_percent"] for point in trade["points"]]), 100)
        axes.set_xlabel(f"{trade['perception']}: accuracy in %")
        axes.set_ylabel(f"{trade['memory']}: accuracy in %")
        return to_svg(figure, "Perception against memory per policy and budget")


def legend(numbers: Mapping[str, Any], figure: str) -> list[Panel]:
    """Line and marker of each policy, for the figure of that name."""
    policies = enumerate(_policies(numbers))
    with figure_style():
        return [
            Panel(policy, _swatch(index, f"{policy} in {figure}")) for index, policy in policies
        ]


def _swatch(index: int, label: str) -> str:
    figure = panel(10, 24)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.plot((0, 1), (0, 0), color=colour(index), linewidth=1.6)
    axes.plot(0.5, 0, color=colour(index), marker=marker(index), markersize=6)
    return to_svg(figure, label)


def _per_group(
    numbers: Mapping[str, Any], draw: Callable[[str], Figure], label: str
) -> list[Panel]:
    with figure_style():
        return [
            Panel(group, to_svg(draw(group), f"{label}: {group}")) for group in numbers["groups"]
        ]


def _difference_axes(rows: Rows, baseline: str) -> tuple[Figure, Axes]:
    figure, axes = row_axes(rows, right_points=82)
    axes.axvline(0, color="#767676", linewidth=1)
    axes.set(xlim=(-100, 100), xticks=(-100, -50, 0, 50, 100))
    axes.set_xlabel(f"points above {baseline}")
    return figure, axes


def _policies(numbers: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(run["policy"] for run in numbers["runs"]))


def _index(numbers: Mapping[str, Any], run: Mapping[str, Any]) -> int:
    return _policies(numbers).index(run["policy"])


def _start(percents: Sequence[float]) -> float:
    """Where an axis that ends at 100 % begins: with a little room below the smallest value."""
    return max(0, min(10 * floor((min(percents) - 2) / 10), 90))


def _counts(pair: Mapping[str, Any]) -> str:
    p = pair["sign_flip_p"]
    shown = "p<.001" if p < 0.001 else f"p={p:.3f}".replace("0.", ".", 1)
    return f"{pair['only_policy_right']}:{pair['only_baseline_right']} {shown}"
