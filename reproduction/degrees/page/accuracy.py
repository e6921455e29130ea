"""Accuracies by degree, at other rates, and of settings of some memories."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from eval.multiple_choice.task_groups import ALL
from eval.multiple_choice.tasks import NEVER_BALANCED
from reproduction.degrees.page.tables import Rows
from reproduction.degrees.page.texts import TEXT
from reproduction.degrees.plan import BASE_FPS, RATES_BUDGET
from reproduction.degrees.results import RANKED, main_budget

SHORT = {
    "perception now": "now",
    "recent past": "recent",
    "far past": "far",
    NEVER_BALANCED: "never (balanced)",
    ALL: "all",
}


def by_degree(accuracies: pd.DataFrame) -> Iterator[str]:
    """The section: by group of questions, and by length and budget."""
    own = accuracies[accuracies["part"] == "memories"]
    first, kv_size = own["length"].iloc[0], main_budget(own)
    yield TEXT["tables"]
    for degree in dict.fromkeys(own["degree"]):
        rows = own[own["degree"] == degree]
        yield f"### {str(degree).capitalize()}\n"
        yield f"{first}, {kv_size} tokens:\n"
        yield _by_group(rows[(rows["length"] == first) & (rows["kv_size"] == kv_size)])
        yield "All questions, by length and budget:\n"
        everything = rows[rows["group"] == ALL]
        columns = everything["length"] + ", " + everything["kv_size"].astype(str)
        yield Rows.of(everything.assign(column=columns), "policy", "column").markdown()


def _by_group(rows: pd.DataFrame) -> str:
    columns = rows["group"].map(lambda name: SHORT.get(name, name))
    return Rows.of(rows.assign(column=columns), "policy", "column").markdown()


def other_rates(accuracies: pd.DataFrame) -> Iterator[str]:
    """The section; nothing where none was watched."""
    rows = accuracies[accuracies["part"] == "rates"]
    if rows.empty:
        return
    yield TEXT["rates"]
    everything = accuracies[
        accuracies["part"].isin(RANKED)
        & (accuracies["kv_size"] == RATES_BUDGET)
        & (accuracies["length"] == rows["length"].iloc[0])
        & (accuracies["group"] == ALL)
        & accuracies["policy"].isin(rows["policy"])
    ].sort_values("sample_fps", kind="stable")
    columns = everything["degree"] + ", " + everything["sample_fps"].map("{:g} fps".format)
    yield Rows.of(everything.assign(column=columns), "policy", "column").markdown()


def settings(accuracies: pd.DataFrame) -> Iterator[str]:
    """The sections of both parts; nothing where none was run."""
    for part, title in (("variants", "hermes"), ("trade", "our memories")):
        own = accuracies[accuracies["part"] == part]
        if own.empty:
            continue
        yield TEXT[part].format(title=title, fps=f"{BASE_FPS:g}", kv_size=RATES_BUDGET)
        for (degree, length), rows in own.groupby(["degree", "length"], sort=False):
            yield f"{degree}, {length}:\n"
            yield _by_group(rows)
