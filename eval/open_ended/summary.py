"""Numbers over the verdicts of an open-ended run, and how they are published."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from eval.files import merge_metrics, write_json
from eval.intervals import Estimate, clustered_mean
from eval.open_ended.answers import OpenEnded, Row
from eval.open_ended.verdicts import Verdict
from eval.protocol import record_protocol

NUM_LISTED_ROWS = 20


@dataclass(frozen=True)
class Summary:
    """Numbers over the judged rows; `estimate` is None when nothing is judged.

    The release truncates every score to an integer before the mean; both means are kept.
    """

    num_yes: int
    num_no: int
    mean_truncated_score: float | None
    mean_score: float | None
    estimate: Estimate | None

    @classmethod
    def over(cls, rows: tuple[Row, ...], verdicts: Mapping[str, Verdict]) -> "Summary":
        """Summarise the rows of `rows` that have a verdict."""
        judged = [(row, verdicts[row.key]) for row in rows if row.key in verdicts]
        if not judged:
            return cls(0, 0, None, None, None)
        is_yes = pd.Series([float(verdict.pred == "yes") for _, verdict in judged])
        scores = [verdict.score for _, verdict in judged]
        return cls(
            num_yes=int(is_yes.sum()),
            num_no=len(judged) - int(is_yes.sum()),
            mean_truncated_score=sum(map(int, scores)) / len(scores),
            mean_score=sum(scores) / len(scores),
            estimate=clustered_mean(is_yes, pd.Series([row.video for row, _ in judged])),
        )

    def lines(self) -> list[str]:
        """The released lines, then the interval."""
        if self.estimate is None or self.mean_truncated_score is None:
            return ["Nothing is judged yet: no accuracy, no score."]
        return [
            f"Yes count: {self.num_yes}",
            f"No count: {self.num_no}",
            f"Accuracy: {100 * self.estimate.mean:.1f}%",
            f"Average score: {self.mean_truncated_score:.2f}",
            f"Accuracy with interval: {self.estimate.as_text()}",
            f"Average score without truncation to integers: {self.mean_score:.2f}",
        ]

    def released_fields(self) -> dict[str, float | None]:
        """`average_score` (of truncated scores) and `accuracy` (a fraction)."""
        accuracy = None if self.estimate is None else self.estimate.mean
        return {"average_score": self.mean_truncated_score, "accuracy": accuracy}

    def metrics(self, num_rows: int) -> dict[str, Any]:
        """JSON-able numbers; accuracies in percent, scores from 0 to 5.

        Args:
            num_rows: rows that could be judged.
        """
        num_judged = self.num_yes + self.num_no
        accuracy = {} if self.estimate is None else self.estimate.as_percent()
        return {
            **accuracy,
            "n": num_rows,
            "num_judged": num_judged,
            "num_unjudged": num_rows - num_judged,
            "mean_score_truncated": self.mean_truncated_score,
            "mean_score": self.mean_score,
        }


def publish(
    results: OpenEnded,
    verdicts: Mapping[str, Verdict],
    unjudged: Mapping[str, str],
    output_json: Path,
    judge_model: str,
) -> None:
    """Print the report, write the output JSON and the `open_ended` section of metrics.json.

    Args:
        results: the rows that could be judged.
        verdicts: row key -> verdict.
        unjudged: row key -> why it has no verdict.
        output_json: file for all verdicts in the released form.
        judge_model: recorded beside the numbers.

    Raises:
        OSError: a file cannot be written.
    """
    summary = Summary.over(results.rows, verdicts)
    print(f"Judged rows: {len(verdicts)} of {len(results.rows)}")
    print("\n".join([*summary.lines(), *closing_lines(results.num_error_rows, unjudged)]))
    pairs = {row.key: row.pair(verdicts[row.key]) for row in results.rows if row.key in verdicts}
    write_json(output_json, {**pairs, **summary.released_fields()})
    print(f"Verdicts saved to: {output_json}")
    metrics = {
        "judge_model": judge_model,
        "results_file": results.path.name,
        "clustered_by": results.clustered_by,
        "num_error_rows": results.num_error_rows,
        **summary.metrics(len(results.rows)),
        "unjudged_rows": dict(unjudged),
    }
    record_protocol(results.path)
    print(f"Metrics saved to: {merge_metrics(results.path.parent, 'open_ended', metrics)}")


def closing_lines(num_error_rows: int, unjudged: Mapping[str, str]) -> list[str]:
    """The released last line, or which rows lack a verdict and why; and the rows with errors."""
    lines = []
    if num_error_rows:
        lines.append(f"!!! {num_error_rows} rows carry an error and are LEFT OUT")
    if not unjudged:
        return [*lines, "All evaluation completed!"]
    listed = [f"  {key}: {reason}" for key, reason in list(unjudged.items())[:NUM_LISTED_ROWS]]
    more = [f"  ... and {len(unjudged) - len(listed)} more, all in metrics.json"]
    return [
        *lines,
        f"!!! {len(unjudged)} rows are NOT judged; run the same command again to judge only those:",
        *listed,
        *(more if len(unjudged) > len(listed) else []),
    ]
