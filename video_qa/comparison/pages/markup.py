"""Pieces of an HTML page that needs nothing but itself."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

CSS = """
body { font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif; color: #222; background: #fff;
  max-width: 1280px; margin: 2em auto; padding: 0 1.5em; }
h1 { font-size: 1.7em; margin-bottom: .2em; }
h2 { font-size: 1.25em; margin: 2em 0 .4em; border-bottom: 1px solid #ddd; }
.facts { color: #555; }
.warning { background: #fff4d6; border-left: 4px solid #d98e00; padding: .4em .8em; }
figure { margin: 0 0 1.5em; overflow-x: auto; }
figure svg { max-width: 100%; height: auto; }
figcaption { color: #555; font-size: .87em; max-width: 60em; }
summary { cursor: pointer; font-weight: bold; margin: .6em 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85em; margin: .6em 0 1.2em; }
th, td { padding: .25em .7em; text-align: right; border-bottom: 1px solid #e5e5e5; }
th { vertical-align: bottom; background: #f6f6f6; }
td:first-child, th:first-child, td.text { text-align: left; }
td.best { font-weight: bold; background: #e3f1fb; }
.thumbs { display: flex; flex-wrap: wrap; gap: 6px; }
.thumbs div { font-size: .72em; width: 104px; }
.thumbs img { width: 104px; display: block; }
.held { height: 7px; background: #e5e5e5; }
.held span { display: block; height: 7px; background: #0072b2; }
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""Even a mistake cannot make the page load anything."""


def page(title: str, body: str) -> str:
    """A whole document."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{html.escape(title)}</title>\n<style>{CSS}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def figure_block(title: str, drawing: str, caption: str) -> str:
    """A picture (markup) under its title and above its caption."""
    head = f"<h2>{html.escape(title)}</h2>" if title else ""
    return f"{head}<figure>{drawing}<figcaption>{html.escape(caption)}</figcaption></figure>"


def table(
    header: Sequence[str], rows: Iterable[Sequence[str]], best: Iterable[tuple[int, int]] = ()
) -> str:
    """A table of texts; `best` holds (row, column) of the cells to stress."""
    stressed = set(best)
    head = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    lines = [
        "".join(
            f"<td{' class=best' if (y, x) in stressed else ''}>{html.escape(cell)}</td>"
            for x, cell in enumerate(row)
        )
        for y, row in enumerate(rows)
    ]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<div class=scroll><table><tr>{head}</tr>{body}</table></div>"
