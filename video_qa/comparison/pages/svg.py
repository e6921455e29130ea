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

STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
}
NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
COLOURS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#e69f00", "#56b4e9"),
    *("#7f3c8d", "#6b8e23", "#8c564b", "#e31a1c", "#17becf", "#999999", "#b8860b"),
)
"""Okabe and Ito's palette for colour-blind readers first, then more for long lists."""
MARKERS = "osD^vP*Xh<>pd8"


@contextmanager
def figure_style() -> Iterator[None]:
    """Draw in the style of the report; global settings are as before afterwards."""
    with matplotlib.rc_context(STYLE):
        yield


def colour(index: int) -> str:
    """Colour of the policy with that number in the comparison."""
    return COLOURS[index % len(COLOURS)]


def marker(index: int) -> str:
    """Marker of that policy, so that colour is not the only difference.

    Where the colours begin anew the markers are shifted: no two policies look alike.
    """
    return MARKERS[(index + index // len(COLOURS)) % len(MARKERS)]


def to_svg(figure: Figure, label: str) -> str:
    """The `<svg>` element; `label` is read out where the picture cannot be seen."""
    # Ids are derived from the salt and must not meet those of another figure on the page.
    salt = hashlib.sha256(label.encode()).hexdigest()[:12]
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": salt}):
        figure.savefig(buffer, format="svg", metadata=NO_METADATA, bbox_inches="tight")
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    spoken = html.escape(label, quote=True)
    return text.replace("<svg ", f'<svg role="img" aria-label="{spoken}" ', 1)
