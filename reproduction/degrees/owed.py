"""What a plan has still to do: a run goes on where it was, and parts share runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from reproduction.degrees.plan import Comparison
from reproduction.degrees.run import arguments_of
from reproduction.degrees.streams import annotations_of
from video_qa.comparison.arguments import parser
from video_qa.comparison.plans import plan_runs
from video_qa.lanes.plan import ComparedRun, retention_video
from video_qa.lanes.retention_file import read_retention
from video_qa.launchers.local import LocalLauncher
from video_qa.questions.annotations import Video
from video_qa.results.predictions import answer_texts, read_predictions
from video_qa.runner.shards import PREDICTIONS_FILE, question_keys, unfinished

TASKS = 17
"""Of edition 2 of NanoStream; a stream has at most `questions_per_task` of each."""


@dataclass(frozen=True)
class OwedRun:
    """What one memory at one budget has still to watch and to answer."""

    policy: str
    kv_size: int
    streams: frozenset[int]
    """Indices; a stream of which one answer is missing is watched from its beginning."""
    num_questions: int


@dataclass(frozen=True)
class Owed:
    """Runs of one comparison that are not finished."""

    comparison: Comparison
    runs: tuple[OwedRun, ...]

    @property
    def streams(self) -> frozenset[int]:
        """Watched by one run at least."""
        return frozenset().union(*(run.streams for run in self.runs))


def owed_by_all(comparisons: Iterable[Comparison], data: Path, root: Path) -> list[Owed]:
    """What each comparison will find unanswered; a run of several is owed by the first of them.

    Reads every answer there is, which takes a while; shows a bar on a terminal.

    Raises:
        ValueError, OSError: as `plan_runs`, or a file of answers is damaged.
    """
    taken: set[tuple[str, float, str, int]] = set()
    found = []
    for comparison in tqdm(comparisons, "Counting what is owed", disable=None, delay=2):
        where = (comparison.world.name, comparison.sample_fps)
        named = {run: (*where, run.policy, run.kv_size) for run in _owed(comparison, data, root)}
        own = tuple(run for run, name in named.items() if run.streams and name not in taken)
        taken |= set(named.values())
        found.append(Owed(comparison, own))
    return found


def _owed(comparison: Comparison, data: Path, root: Path) -> list[OwedRun]:
    if not annotations_of(comparison.world, data).exists():
        return _everything(comparison)
    arguments = parser("", "").parse_args(arguments_of(comparison, data, root, 1))
    plans = plan_runs(arguments, LocalLauncher(), arguments.policies)
    videos = next(iter(plans.values())).videos
    recorded = retention_video(videos, comparison.sample_fps)
    return [_owed_by(run, videos, recorded) for run in plans]


def _owed_by(run: ComparedRun, videos: Sequence[Video], recorded: int) -> OwedRun:
    """`ComparedRun.owed`, with what workers that were killed have left behind."""
    paths = [run.folder / PREDICTIONS_FILE, *sorted(run.folder.glob("*_*.jsonl"))]
    answered = answer_texts(read_predictions(paths, run.run_id))
    streams = {video.index for video in unfinished(videos, answered)}
    if read_retention(run.folder, run.run_id) is None:
        streams.add(recorded)
    missing = sum(key not in answered for key in question_keys(videos))
    return OwedRun(run.settings.policy, run.settings.kv_size, frozenset(streams), missing)


def _everything(comparison: Comparison) -> list[OwedRun]:
    """Of streams that are not yet written."""
    streams = frozenset(range(comparison.num_streams))
    questions = TASKS * comparison.world.length.questions_per_task * len(streams)
    return [
        OwedRun(policy, kv_size, streams, questions)
        for policy in comparison.policies
        for kv_size in comparison.budgets
    ]
