"""One worker of a comparison: loads the model once and lets all memories watch its videos.

Started by ``video_qa/compare.py``. Appends each answer at once to ``{workers}_{worker}.jsonl`` in
the folder of its run, and a line to ``{workers}_{worker}.progress`` beside the plan. Exit code 0:
every question has an answer; 3: some have an error instead, or a policy cannot serve the model;
2: nothing could be done.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a script: import from the repository root, not from here
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from eval.whole_file import write_text
from video_qa.lanes.lanes import Lane, SharedWatch
from video_qa.lanes.plan import ComparedRun, WatchPlan
from video_qa.lanes.retention import RetentionLog
from video_qa.lanes.retention_file import write_retention
from video_qa.questions.annotations import Video
from video_qa.results.prediction import Key, Prediction
from video_qa.results.predictions import PredictionLog
from video_qa.runner.orphans import end_with
from video_qa.runner.shards import SOME_QUESTIONS_FAILED, shard_stem
from video_qa.settings.model_registry import load_engine
from video_qa.settings.policy_spec import named_fields

logger = logging.getLogger(__name__)

PLAIN_POLICY = "recent"
"""Loads the model; each lane then names its own."""


def main(argv: Sequence[str] | None = None) -> int:
    """Watch one shard; returns the exit code."""
    arguments = _parser().parse_args(argv)
    if arguments.runner_pid is not None:
        end_with(arguments.runner_pid)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    try:
        return watch_shard(WatchPlan.read(arguments.plan), arguments)
    except (ValueError, OSError, ImportError) as error:
        logger.debug("details", exc_info=True)
        print(f"error: {error}", file=sys.stderr)
        return 2


def watch_shard(plan: WatchPlan, arguments: argparse.Namespace) -> int:
    """Let every run of the plan watch what it owes of this worker's videos."""
    stem = shard_stem(len(plan.shards), arguments.chunk_idx)
    beside = arguments.plan.parent
    videos = plan.videos(arguments.chunk_idx)
    first = plan.runs[0].settings
    encoder = load_engine(replace(first, policy=PLAIN_POLICY), arguments.device)
    lanes, refused = _open_lanes(plan, encoder)
    write_text(beside / f"{stem}.refused.json", json.dumps(refused))
    shared = SharedWatch(encoder, first, plan.video_root)
    with ExitStack() as stack:
        progress = stack.enter_context((beside / f"{stem}.progress").open("a", buffering=1))
        logs = {
            lane: stack.enter_context(PredictionLog(run.folder / f"{stem}.jsonl"))
            for lane, run in lanes.items()
        }
        _describe(lanes, stem)
        failed = bool(refused)
        for lane, prediction in _predictions(shared, lanes, videos, plan.retention_index):
            logs[lane].append(prediction)
            with suppress(OSError):  # it moves the bar only; the answer is on the disk
                progress.write(f"{lane.run_id} {prediction.key}\n")
            failed |= prediction.error is not None
        _describe(lanes, stem)
    return SOME_QUESTIONS_FAILED if failed else 0


def _open_lanes(plan: WatchPlan, encoder: Any) -> tuple[dict[Lane, ComparedRun], dict[str, str]]:
    """A stream per run on the encoder's weights; and run id -> why there can be none."""
    lanes, refused = {}, {}
    for run in plan.runs:
        try:
            stream = encoder.new_stream(**named_fields(run.settings))
            lanes[Lane(stream, run.settings, run.run_id)] = run
        except ValueError as error:
            logger.error("%s: %s", run.label, error)
            refused[run.run_id] = str(error)
    return lanes, refused


def _predictions(
    shared: SharedWatch,
    lanes: Mapping[Lane, ComparedRun],
    videos: Sequence[Video],
    retention_index: int,
) -> Iterator[tuple[Lane, Prediction]]:
    stored = {lane: run.answered() for lane, run in lanes.items()}
    owed = {
        lane: {video.index for video in run.owed(videos, retention_index)}
        for lane, run in lanes.items()
    }
    for video in videos:
        logger.info("video %s: %s", video.video_id, video.video_path)
        owing = [lane for lane in lanes if video.index in owed[lane]]
        recorded = video.index == retention_index
        for lane in owing:
            lane.retention = RetentionLog() if recorded else None
        yield from shared.analyze(video, {lane: _of(video, stored[lane]) for lane in owing})
        for lane in owing if recorded else ():
            assert lane.retention is not None
            write_retention(lanes[lane].folder, lane.run_id, video, lane.retention)


def _of(video: Video, stored: Mapping[Key, str]) -> dict[int, str]:
    return {i: text for (index, i), text in stored.items() if index == video.index}


def _describe(lanes: Mapping[Lane, ComparedRun], stem: str) -> None:
    """Write down each engine, at the start and again when sizes and bytes are known."""
    for lane, run in lanes.items():
        text = json.dumps(lane.model.describe())
        write_text(run.folder / f"{stem}.engine.json", text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="worker.py", description=__doc__)
    add = parser.add_argument
    add("--plan", type=Path, required=True, help="plan.json of the comparison's folder")
    add("--chunk_idx", type=int, default=0, help="which shard of the plan (default: 0)")
    add("--device", help="cpu, cuda or cuda:N; default: a GPU if there is one")
    add("--runner_pid", type=int, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
