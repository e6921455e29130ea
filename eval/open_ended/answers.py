"""Rows of open-ended results, and the released file of each row's verdict."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from eval.files import write_json
from eval.open_ended.verdicts import Verdict
from eval.results_table import ResultsError, cluster_column, read_results, usable_rows

NEEDED_COLUMNS = ("video_id", "question", "answer", "pred_answer")


@dataclass(frozen=True)
class Row:
    """One answered question; `key` is `{video_id}_{k}` for the k-th row of the video, from 0."""

    key: str
    video: str
    question: str
    answer: str
    pred_answer: str

    def pair(self, verdict: Verdict) -> list[dict[str, Any]]:
        """The released form of a verdict with what it is about."""
        texts = {"question": self.question, "answer": self.answer, "pred_answer": self.pred_answer}
        return [{"pred": verdict.pred, "score": verdict.score}, texts]


@dataclass(frozen=True)
class OpenEnded:
    """The rows of one CSV that can be judged."""

    path: Path
    rows: tuple[Row, ...]
    num_error_rows: int
    clustered_by: str

    @classmethod
    def read(cls, path: Path) -> "OpenEnded":
        """Read the CSV at `path`; rows that carry an error are counted and left out.

        Unlike in the release, whose pandas read them as `nan`, an empty prediction and such as "NA"
        are judged as the text they are.

        Raises:
            ResultsError: the CSV cannot be read, or every row carries an error.
        """
        table = read_results(path, NEEDED_COLUMNS)
        clustered_by = cluster_column(table)
        number = table.groupby("video_id").cumcount().astype(str)
        table = table.assign(key=table["video_id"] + "_" + number, video=table[clustered_by])
        usable = table[usable_rows(table)]
        if usable.empty:
            raise ResultsError(f"{path}: every one of its {len(table)} rows carries an error")
        fields = usable[["key", "video", "question", "answer", "pred_answer"]]
        rows = tuple(Row(*values) for values in fields.itertuples(index=False, name=None))
        return cls(path, rows, len(table) - len(rows), clustered_by)


def write_row_files(folder: Path, rows: tuple[Row, ...], verdicts: Mapping[str, Verdict]) -> None:
    """Write `{folder}/{key}.json` per judged row; remove that of a row that is not judged.

    A file left there is the verdict on an earlier prediction. Characters that a file name
    cannot carry are percent-encoded.
    """
    for row in rows:
        path = folder / f"{quote(row.key, safe=' ')}.json"
        if row.key in verdicts:
            write_json(path, row.pair(verdicts[row.key]))
        else:
            path.unlink(missing_ok=True)
