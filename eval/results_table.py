"""Read a results CSV, written by this project, by the release or by one of its forks."""

import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd


class ResultsError(ValueError):
    """The results cannot be evaluated; the message names the file and says what to do."""


def locate_results(path: Path) -> Path:
    """`path`, or its twin when only the other spelling of a whole frame rate exists.

    The release names the folder of an unset frame rate `fps1-...` and that of `--sample_fps 1`
    `fps1.0-...`; both mean the same run.
    """
    if path.exists():
        return path
    for index, part in enumerate(path.parts):
        match = re.match(r"fps(\d+)(\.0)?(?=-|$)", part)
        if match:
            other = f"fps{match[1]}{'' if match[2] else '.0'}{part[match.end() :]}"
            twin = Path(*path.parts[:index], other, *path.parts[index + 1 :])
            if twin.exists():
                return twin
    return path


def read_results(path: Path, needed_columns: Iterable[str]) -> pd.DataFrame:
    """All rows of the CSV at `path` as text; absent fields are "", columns not needed are kept.

    Text, because an answer such as "None" or a video id such as "007" must stay what it is.

    Raises:
        ResultsError: no such file, not a CSV, no rows, a needed column is missing, or rows have
            more cells than the header.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except FileNotFoundError:
        raise ResultsError(
            f"{path}: no such file; give the results.csv of a finished run"
        ) from None
    except OSError as error:
        raise ResultsError(f"{path}: cannot be read ({error}); give a results.csv") from error
    except pd.errors.EmptyDataError:
        raise ResultsError(f"{path}: the file is empty; rerun the inference") from None
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise ResultsError(f"{path}: not a readable UTF-8 CSV ({error})") from error
    if not isinstance(table.index, pd.RangeIndex):  # pandas would shift every column to the right
        raise ResultsError(
            f"{path}: the rows have more cells than the header has names ({len(table.columns)}); "
            "quote texts that hold commas, or rerun the inference"
        )
    missing = [column for column in needed_columns if column not in table.columns]
    if missing:
        raise ResultsError(
            f"{path}: missing column(s) {', '.join(missing)}; found {', '.join(table.columns)}. "
            "Is this a results.csv of the right kind (multiple choice or open ended)?"
        )
    if table.empty:
        raise ResultsError(f"{path}: the file has a header but no rows; rerun the inference")
    return table.fillna("").reset_index(drop=True)


def usable_rows(table: pd.DataFrame) -> pd.Series:
    """Boolean per row: True where the `error` column is empty or does not exist."""
    if "error" not in table.columns:
        return pd.Series(True, index=table.index)
    return table["error"].str.strip() == ""


def answered_rows(table: pd.DataFrame) -> pd.Series:
    """Boolean per row: True where there is a prediction; an empty one is never right."""
    return table["pred_answer"].str.strip() != ""


def scored_rows(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The rows that count in a multiple-choice evaluation, with `qa_acc` as float in 0 ... 100.

    Left out are rows marked in the `error` column and rows whose `qa_acc` is no number. Rows
    without a prediction count as wrong whatever their `qa_acc` says.

    Raises:
        ResultsError: no row is left, or a `qa_acc` lies outside 0 ... 100.
    """
    accuracy_percent = pd.to_numeric(table["qa_acc"], errors="coerce")
    rows = table.assign(qa_acc=accuracy_percent)[usable_rows(table) & accuracy_percent.notna()]
    if rows.empty:
        raise ResultsError(f"{path}: none of its {len(table)} rows is usable (error or no qa_acc)")
    outside = rows[~rows["qa_acc"].between(0, 100)]
    if not outside.empty:
        raise ResultsError(
            f"{path}: row {outside.index[0] + 1} has qa_acc {outside['qa_acc'].iloc[0]}, "
            "expected percent between 0 and 100"
        )
    return rows.assign(qa_acc=rows["qa_acc"].where(answered_rows(rows), 0.0))


def cluster_column(table: pd.DataFrame) -> str:
    """The column that names the video: `video_path` where every row has one, else `video_id`.

    OVO-Bench and MVBench number their entries, so that several ids share one video.
    """
    has_paths = "video_path" in table.columns and bool(
        (table["video_path"].str.strip() != "").all()
    )
    return "video_path" if has_paths else "video_id"
