"""Which memory may be the best, and how far one is ahead: brute force, and what it promises."""

from __future__ import annotations

import itertools
from math import sqrt

import numpy as np
import pandas as pd
import pytest

from eval.intervals import variance_of
from eval.multiple_choice.task_groups import Group, group_difference, group_mean
from eval.ranking import best, lower_bounds
from eval.ranking.best import beaten_p
from eval.ranking.lower_bounds import simultaneous_quantile
from eval.ranking.scores import group_scores, side_by_side
from eval.ranking.verdict import lead_on_best, leads, standings

TASKS = ("far_colour", "count_colours")


def table(num_videos: int, skill: dict[str, float], seed: int = 0) -> pd.DataFrame:
    """As comparison.csv has it: 12 questions of two tasks per video, some of them facts asked
    twice; videos differ in how hard they are, for all memories alike."""
    generator, rows = np.random.default_rng(seed), []
    for video, index in itertools.product(range(num_videos), range(12)):
        luck = generator.normal() * 0.2
        for policy, chance in skill.items():
            row = {"policy": policy, "kv_size": 64, "video_index": video, "question_index": index}
            row |= {"video_id": f"v{video}", "task": TASKS[index % 2], "answer": "a"}
            right = float(generator.random() < chance + luck)
            rows.append(row | {"question": f"q{index // 3}", "right": right})
    return pd.DataFrame(rows)


def draw(generator: np.random.Generator, num_videos: int, means: np.ndarray) -> np.ndarray:
    """(G, K) what videos add to accuracies that share how hard a video is."""
    hard = generator.normal(0, 0.1, (num_videos, 1))
    return (means + hard + generator.normal(0, 0.1, (num_videos, len(means)))) / num_videos


def test_p_values_by_brute_force() -> None:
    sums = np.random.default_rng(3).integers(-3, 4, (5, 4)).astype(float)
    winner = int(sums.sum(axis=0).argmax())
    for i, p in enumerate(beaten_p(sums)):
        others = [j for j in range(4) if (sums[:, j] != sums[:, i]).any()]
        gaps = {
            j: (sums[:, j] - sums[:, i]) / sqrt(((sums[:, j] - sums[:, i]) ** 2).sum())
            for j in others
        }
        if i == winner:
            assert p == 1
            continue
        flips = list(itertools.product((1, -1), repeat=5))
        largest = [max(float(np.dot(flip, gaps[j])) for j in others) for flip in flips]
        observed = gaps[winner].sum() - 1e-9
        assert p == pytest.approx(np.mean([value >= observed for value in largest]))


@pytest.mark.parametrize("num_videos", [1, 3, 4, 5, 12, 40])
def test_few_videos_tell_nobody_apart(num_videos: int) -> None:
    """However plain the difference: the first is right always, the second never."""
    p = beaten_p(np.tile([1.0, 0.0], (num_videos, 1)))
    assert p[0] == 1
    least = 0.5**num_videos if num_videos <= best.MOST_EXACT_VIDEOS else 1 / (best.NUM_DRAWS + 1)
    assert p[1] == pytest.approx(least)


@pytest.mark.parametrize("num_videos", [8, 40])
def test_the_best_is_hardly_ever_called_beaten(num_videos: int, monkeypatch) -> None:
    """Ten memories alike, and three that are bad: whoever looks best did so by chance."""
    monkeypatch.setattr(best, "NUM_DRAWS", 1000)
    best._signs.cache_clear()
    generator, means = np.random.default_rng(num_videos), np.r_[np.zeros(10), -0.3, -0.4, -0.5]
    found = np.array([beaten_p(draw(generator, num_videos, means)) for _ in range(300)])
    best._signs.cache_clear()
    assert (found[:, 0] <= 0.05).mean() <= 0.075  # two standard errors of a share of 300
    assert (found[:, -1] <= 0.05).mean() >= 0.95


@pytest.mark.parametrize("num_videos", [6, 20])
def test_all_lower_bounds_hold_at_once(num_videos: int, monkeypatch) -> None:
    monkeypatch.setattr(lower_bounds, "NUM_DRAWS", 500)
    generator, hold, hold_alone = np.random.default_rng(num_videos), [], []
    for _ in range(300):
        sums = draw(generator, num_videos, np.zeros(12))
        differences = sums[:, :1] - sums[:, 1:]
        deviations = differences - differences.mean(axis=0)
        errors = np.array([sqrt(variance_of(column)[1]) for column in deviations.T])
        hold.append((differences.sum(axis=0) <= simultaneous_quantile(deviations) * errors).all())
        single = simultaneous_quantile(deviations[:, :1])
        hold_alone.append((differences.sum(axis=0) <= single * errors).all())
    assert np.mean(hold) >= 0.93
    assert np.mean(hold_alone) < 0.9  # what a bound for one difference is worth for eleven


def test_one_other_memory_gets_students_quantile() -> None:
    deviations = np.random.default_rng(0).normal(size=(10, 1))
    assert simultaneous_quantile(deviations) == pytest.approx(1.833, abs=0.05)
    assert simultaneous_quantile(np.zeros((10, 3))) == pytest.approx(1.833, abs=0.001)
    assert simultaneous_quantile(deviations[:1]) == float("inf")


GROUPS = {"mean of tasks": Group(TASKS), "pooled": Group(TASKS, is_pooled=True)}


@pytest.mark.parametrize("name", GROUPS)
def test_figures_are_those_of_two_memories_compared(name: str) -> None:
    rows = table(9, {"a": 0.8, "b": 0.6, "c": 0.5})
    scores = group_scores(side_by_side(rows, 64, "video_id"), list("abc"), GROUPS[name], "video_id")
    assert scores is not None
    own = {policy: rows[rows["policy"] == policy].reset_index(drop=True) for policy in "abc"}
    for line in standings(scores):
        mean = group_mean(own[line["policy"]], GROUPS[name], "video_id")
        assert mean is not None
        assert line["accuracy_percent"] == pytest.approx(100 * mean.mean)
        assert line["low_percent"] == pytest.approx(100 * mean.low)
    for line in leads(scores, "a", ["b", "c"]):
        pairs = own["a"].assign(right_baseline=own[line["other"]]["right"])
        pair = group_difference(pairs, GROUPS[name], "video_id")
        assert pair is not None and pair.low is not None
        assert line["difference_points"] == pytest.approx(100 * pair.mean)
        assert line["sign_flip_p"] == pair.sign_flip_p
        assert 100 * pair.low < line["lower_bound_points"] < line["difference_points"]
    totals = scores.sums().sum(axis=0)
    assert 100 * totals == pytest.approx([line["accuracy_percent"] for line in standings(scores)])


def test_floors_are_shown_and_not_ranked() -> None:
    rows = table(12, {"a": 0.5, "b": 0.3, "floor": 0.99})
    wide = side_by_side(rows, 64, "video_id")
    scores = group_scores(wide, ["a", "b", "floor"], GROUPS["pooled"], "video_id")
    assert scores is not None
    lines = {line["policy"]: line for line in standings(scores, ["floor"])}
    assert lines["a"]["is_best"] and not lines["floor"]["is_best"]
    assert lines["floor"]["beaten_p"] is None and not lines["floor"]["may_be_best"]


def test_a_question_that_somebody_did_not_answer_is_left_out_for_all() -> None:
    rows = table(3, {"a": 0.5, "b": 0.5})
    rows.loc[0, "right"] = np.nan
    assert len(side_by_side(rows, 64, "video_id")) == 3 * 12 - 1


def test_the_lead_on_the_best_has_the_smallest_bound() -> None:
    lines = [
        {"other": "b", "difference_points": 4.0, "lower_bound_points": -5.0},
        {"other": "c", "difference_points": 2.0, "lower_bound_points": -1.0},
    ]
    assert lead_on_best(lines) == lines[1] | {"lower_bound_points": -5.0}
    lines[0]["lower_bound_points"] = None  # type: ignore[typeddict-item]
    assert lead_on_best(lines)["lower_bound_points"] is None
