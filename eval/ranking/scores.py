"""One column per memory: who answered what, and what every video adds to each accuracy."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from eval.intervals import Estimate, row_weights_of, stratified_mean
from eval.multiple_choice.task_groups import Group, once_per_fact, strata_of
from eval.paired import PairedDifference, paired_difference

KEY = ["video_index", "question_index"]
FACTS = ("task", "question", "answer")


def side_by_side(table: pd.DataFrame, kv_size: int, clusters: str) -> pd.DataFrame:
    """The questions that every memory answered at that budget: video, task, words, and a column of
    0 or 1 per policy, in the order of the table.

    Args:
        table: rows as `eval.comparison.read_table` gives them.
        clusters: the column that names the video.
    """
    rows = table[table["kv_size"] == kv_size]
    right = rows.pivot(index=KEY, columns="policy", values="right")
    described = rows.drop_duplicates(KEY).set_index(KEY)
    facts = described[[name for name in (clusters, *FACTS) if name in described]]
    wide = facts.join(right[list(dict.fromkeys(rows["policy"]))])
    return wide.dropna().reset_index(drop=True)


@dataclass(frozen=True)
class GroupScores:
    """A group of tasks as K memories answered it, over G videos.

    Attributes:
        right: one row per question, a column per memory, in [0, 1].
        videos, strata: of each row.
    """

    right: pd.DataFrame
    videos: pd.Series
    strata: pd.Series
    weights: dict[str, float]
    """Of the strata, as in `eval.intervals.stratified_mean`."""

    @property
    def names(self) -> list[str]:
        """The memories."""
        return [str(name) for name in self.right.columns]

    def sums(self) -> np.ndarray:
        """(G, K) what each video adds to each accuracy."""
        return self._by_video(self.right)

    def deviations(self) -> np.ndarray:
        """(G, K) the same, of answers minus the mean of their stratum."""
        return self._by_video(self.right - self.right.groupby(self.strata).transform("mean"))

    def estimate(self, name: str) -> Estimate:
        """Accuracy of one memory."""
        return stratified_mean(self.right[name], self.videos, self.strata, self.weights)

    def difference(self, first: str, second: str) -> PairedDifference:
        """Accuracy of one memory minus that of another."""
        return paired_difference(
            self.right[first], self.right[second], self.videos, self.strata, self.weights
        )

    def _by_video(self, values: pd.DataFrame) -> np.ndarray:
        weighted = values.mul(row_weights_of(self.strata, self.weights), axis=0)
        return weighted.groupby(self.videos).sum().to_numpy()


def group_scores(
    wide: pd.DataFrame, names: Sequence[str], group: Group, clusters: str
) -> GroupScores | None:
    """The group's part of a table made by `side_by_side`; None if it has none."""
    rows, strata, weights = strata_of(once_per_fact(wide, clusters, names), group)
    if rows.empty:
        return None
    return GroupScores(rows[list(names)], rows[clusters], strata, weights)
