"""Whole pages from Jinja templates: they load nothing, and run no script but their own."""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from video_qa.comparison.pages import svg

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""Even a mistake cannot make a page load anything."""


def render(template: str, script: str | None = None, **values: Any) -> str:
    """A page; texts among `values` are escaped.

    Args:
        template: name of a file in `templates`.
        script: name of the one script there that the page may run.
    """
    source, policy = None, POLICY
    if script is not None:
        source = _environment().get_template(script).render()
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        policy += f"; script-src 'sha256-{digest}'"
    return _environment().get_template(template).render(script=source, policy=policy, **values)


@lru_cache(1)
def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.globals["colours"] = {
        "ink": (svg.INK, svg.DARK_INK),
        "rule": (svg.RULE, svg.DARK_RULE),
        "paper": (svg.PAPER, svg.DARK_PAPER),
        **{f"series-{number}": pair for number, pair in enumerate(svg.COLOURS)},
    }
    return found
