"""Figures as inline SVG: same input, same bytes; nothing in them points outside the page."""

from __future__ import annotations

import hashlib
import html
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.figure import Figure

POINTS_WIDE = 255.0
"""Width of a panel: 340 CSS pixels, less than the narrowest screen gives it, so that text grows."""
FONT_POINTS = 9
INK, RULE, PAPER = "#1f2328", "#d0d7de", "#ffffff"
DARK_INK, DARK_RULE, DARK_PAPER = "#e6edf3", "#3d444d", "#0f1317"
COLOURS = (
    *(("#0072b2", "#4ea8de"), ("#d55e00", "#ff8a3d"), ("#00875f", "#2fc498")),
    *(("#b5508e", "#e39bc4"), ("#111111", "#f2f2f2"), ("#a06a00", "#f0b429")),
    *(("#3d8fc4", "#8fd0f5"), ("#7f3c8d", "#c58ad4"), ("#6b8e23", "#a6c957")),
    *(("#8c564b", "#c99a8f"), ("#e31a1c", "#ff6b6b"), ("#0d8b99", "#3fd3e3")),
    *(("#767676", "#a3a3a3"), ("#8f6d0b", "#d9b44a")),
)
"""On light and on dark paper: near Okabe and Ito's palette for colour-blind readers, then more."""
MARKERS = "osD^vP*Xh<>pd8"
VARIABLES = {INK: "ink", RULE: "rule", PAPER: "paper"} | {
    light: f"series-{number}" for number, (light, _) in enumerate(COLOURS)
}
"""Colour in a drawing -> the page's variable that takes its place; alone, the drawing is light."""
STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": FONT_POINTS,
    "axes.labelsize": FONT_POINTS,
    "xtick.labelsize": FONT_POINTS,
    "ytick.labelsize": FONT_POINTS,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), "none"),
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor"), INK),
    **dict.fromkeys(("xtick.color", "ytick.color"), INK),
}
NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


@contextmanager
def figure_style() -> Iterator[None]:
    """Draw in the style of the report; global settings are as before afterwards."""
    with matplotlib.rc_context(STYLE):
        yield


def colour(index: int) -> str:
    """Colour of the policy with that number in the comparison, on light paper."""
    return COLOURS[index % len(COLOURS)][0]


def marker(index: int) -> str:
    """Marker of that policy, so that colour is not the only difference.

    Where the colours begin anew the markers are shifted: no two policies look alike.
    """
    return MARKERS[(index + index // len(COLOURS)) % len(MARKERS)]


def panel(height_points: float, width_points: float = POINTS_WIDE) -> Figure:
    """An empty figure of a panel's size."""
    return Figure(figsize=(width_points / 72, height_points / 72))


def to_svg(figure: Figure, label: str) -> str:
    """The `<svg>` element; `label` is read out where the picture cannot be seen."""
    # Ids are derived from the salt and must not meet those of another figure on the page.
    salt = hashlib.sha256(label.encode()).hexdigest()[:12]
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": salt}):
        figure.savefig(buffer, format="svg", metadata=NO_METADATA)
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub("|".join(VARIABLES), lambda found: _variable(found[0]), text)
    text = text.replace("'DejaVu Sans'", "'DejaVu Sans', system-ui, sans-serif")
    spoken = html.escape(label, quote=True)
    return text.replace("<svg ", f'<svg role="img" aria-label="{spoken}" ', 1)


def _variable(colour: str) -> str:
    return f"var(--{VARIABLES[colour]}, {colour})"
