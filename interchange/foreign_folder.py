"""A results folder of the authors' code or of one of its forks: what its name and tables say."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from eval.results_table import ResultsError, read_results

NAME = re.compile(r"fps(?P<fps>\d+(?:\.\d+)?)-kv(?P<kv>\d+|None)(?:-(?P<mode>.+))?")
SHARD = re.compile(r"(\d+)_(\d+)\.csv")
COLUMNS = ("video_id", "question", "pred_answer")


@dataclass(frozen=True)
class FolderName:
    """What ``results/{model}/{dataset}/fps{fps}-kv{kv}[-{mode}]`` says; None where it does not."""

    model: str | None = None
    dataset: str | None = None
    sample_fps: float | None = None
    kv_size: int | None = None
    mode: str | None = None
    """What some forks put behind the budget."""

    @classmethod
    def read(cls, folder: Path) -> FolderName:
        """From a path; `fps1` and `fps1.0` are the same rate, `kvNone` is no budget."""
        resolved = folder.resolve()
        match = NAME.fullmatch(resolved.name)
        if match is None:
            return cls()
        kv_size = None if match["kv"] == "None" else int(match["kv"])
        dataset, model = resolved.parent.name, resolved.parent.parent.name
        return cls(model, dataset, float(match["fps"]), kv_size, match["mode"])


def read_table(folder: Path) -> pd.DataFrame:
    """``results.csv``, or what shards (``8_0.csv`` ...) a run left that was not merged; as text.

    Raises:
        ResultsError: neither, shards of several runs, or a table that cannot be read.
    """
    merged = folder / "results.csv"
    if merged.is_file():
        return read_results(merged, COLUMNS)
    shards = {path: match for path in folder.glob("*.csv") if (match := SHARD.fullmatch(path.name))}
    if not shards:
        raise ResultsError(f"{folder} holds neither results.csv nor shards such as 8_0.csv")
    if len({int(match[1]) for match in shards.values()}) > 1:
        names = ", ".join(sorted(path.name for path in shards))
        raise ResultsError(f"{folder} holds shards of several runs: {names}; move some away")
    ordered = sorted(shards, key=lambda path: int(shards[path][2]))
    tables = [read_results(path, COLUMNS) for path in ordered]
    return pd.concat(tables, ignore_index=True).fillna("")
