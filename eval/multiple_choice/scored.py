"""The rows of a results CSV that count, with what the reports need of them."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from eval.intervals import Estimate, clustered_mean
from eval.multiple_choice.letters import ambiguous_rows, reparsed_rows, unparsed_rows
from eval.multiple_choice.words import same_words
from eval.results_table import (
    ResultsError,
    answered_rows,
    cluster_column,
    read_results,
    scored_rows,
)

NEEDED_COLUMNS = ("video_id", "pred_answer", "pred_choice", "qa_acc")
WORD_COLUMNS = ("video_id", "answer", "pred_answer")


@dataclass(frozen=True)
class Scored:
    """Scored rows of one CSV; `rows` has `qa_acc` as float percent, everything else as text."""

    path: Path
    num_table_rows: int
    clustered_by: str
    rows: pd.DataFrame
    has_letters: bool = True
    """False for open answers, which are compared as words."""

    @classmethod
    def read(cls, path: Path, *more_columns: str) -> "Scored":
        """Read the CSV at `path`, which also needs `more_columns`.

        Raises:
            ResultsError: the CSV cannot be evaluated.
        """
        table = read_results(path, (*NEEDED_COLUMNS, *more_columns))
        table = _of_kind(table, path, has_options=True)
        return cls(path, len(table), cluster_column(table), scored_rows(table, path))

    @classmethod
    def read_words(cls, path: Path) -> "Scored":
        """Read open answers; `qa_acc` is 100 where answer and prediction are the same words.

        Raises:
            ResultsError: the CSV cannot be evaluated.
        """
        table = _of_kind(read_results(path, WORD_COLUMNS), path, has_options=False)
        table = table.assign(qa_acc=same_words(table) * 100.0)
        return cls(path, len(table), cluster_column(table), scored_rows(table, path), False)

    @property
    def num_left_out(self) -> int:
        """Rows that carry an error or no score."""
        return self.num_table_rows - len(self.rows)

    @cached_property
    def unparsed(self) -> pd.DataFrame:
        """The rows whose prediction could not be read; they count as answered wrongly."""
        if not self.has_letters:
            return self.rows[~answered_rows(self.rows)]
        return self.rows[unparsed_rows(self.rows)]

    def labels(self, column: str) -> pd.Series:
        """The stripped text of `column` per row; "" everywhere when there is no such column."""
        if column not in self.rows.columns:
            return pd.Series("", index=self.rows.index)
        return self.rows[column].str.strip()

    def estimate(self, chosen: pd.Series | None = None) -> Estimate:
        """Accuracy, as a fraction, of the `chosen` rows (a boolean per row) or of all."""
        rows = self.rows if chosen is None else self.rows[chosen]
        return clustered_mean(rows["qa_acc"] / 100, rows[self.clustered_by])

    def metrics(self) -> dict[str, Any]:
        """What every section of metrics.json says: accuracy, and the rows behind it."""
        return {
            "results_file": self.path.name,
            "clustered_by": self.clustered_by,
            **self.estimate().as_percent(),
            "num_unparsed": len(self.unparsed),
            "num_error_rows": self.num_left_out,
            "accuracy_counting_errors_as_wrong_percent": float(
                self.rows["qa_acc"].sum() / self.num_table_rows
            ),
            **(self._letter_counts() if self.has_letters else {}),
        }

    def _letter_counts(self) -> dict[str, int]:
        return {
            "num_pred_choice_not_by_released_rule": int(reparsed_rows(self.rows).sum()),
            "num_duplicate_correct_option": int(ambiguous_rows(self.rows).sum()),
        }

    def closing_lines(self) -> list[str]:
        """Lines under every report: the overall interval, and a loud word on rows left out."""
        overall = self.estimate()
        lines = [
            f"Accuracy: {overall.as_text()}, videos told apart by {self.clustered_by}",
            f"Unparsed predictions: {len(self.unparsed)}",
        ]
        if self.num_left_out:
            lines.append(
                f"!!! {self.num_left_out} of {self.num_table_rows} rows carry an error or no "
                "score and are LEFT OUT of all numbers above; rerun the inference to answer them"
            )
        return lines

    def debug_lines(self) -> list[str]:
        """The unparsed rows as one text table, if there are any."""
        return [] if self.unparsed.empty else [self.unparsed.to_string()]


def _of_kind(table: pd.DataFrame, path: Path, has_options: bool) -> pd.DataFrame:
    """The rows with options, or those without, where a table holds questions of both kinds.

    Raises:
        ResultsError: none is left.
    """
    if "choices" not in table.columns or (table["choices"] != "").all():
        return table
    rows = table[(table["choices"] != "") == has_options].reset_index(drop=True)
    if rows.empty:
        raise ResultsError(f"{path}: no question {'with' if has_options else 'without'} options")
    return rows
