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
from pathlib import Path

if __package__ in (None, ""):  # run as a script: import from the repository root, not from here
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from eval.whole_file import write_text
from video_qa.lanes.lane_watcher import LaneWatcher, encoder_settings
from video_qa.lanes.plan import WatchPlan
from video_qa.lanes.retention_file import write_retention
from video_qa.launchers.recipe import Recorded, Reply
from video_qa.questions.annotations import Video
from video_qa.results.predictions import PredictionLog
from video_qa.runner.orphans import end_with
from video_qa.runner.shards import SOME_QUESTIONS_FAILED, shard_stem
from video_qa.settings.model_registry import load_engine

logger = logging.getLogger(__name__)


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
    encoder = load_engine(encoder_settings(plan.runs), arguments.device)
    watcher = LaneWatcher(encoder, plan.runs, plan.video_root, plan.retention_index)
    write_text(beside / f"{stem}.refused.json", json.dumps(watcher.refused))
    folders = {run.run_id: run.folder for run in plan.runs if run.run_id not in watcher.refused}
    # A task that was requeued finds what it wrote itself, too.
    stored = {run.run_id: run.stored(videos, plan.retention_index, stem) for run in plan.runs}
    with ExitStack() as stack:
        progress = stack.enter_context((beside / f"{stem}.progress").open("a", buffering=1))
        logs = {
            run_id: stack.enter_context(PredictionLog(folder / f"{stem}.jsonl"))
            for run_id, folder in folders.items()
        }
        _describe(watcher, folders, stem)
        failed = bool(watcher.refused)
        for reply in _replies(watcher, videos, stored):
            if isinstance(reply, Recorded):
                write_retention(folders[reply.run_id], reply.content)
                continue
            logs[reply.run_id].append(reply.prediction)
            with suppress(OSError):  # it moves the bar only; the answer is on the disk
                progress.write(f"{reply.run_id} {reply.prediction.key}\n")
            failed |= reply.prediction.error is not None
        _describe(watcher, folders, stem)
    return SOME_QUESTIONS_FAILED if failed else 0


def _replies(
    watcher: LaneWatcher,
    videos: Sequence[Video],
    stored: Mapping[str, Mapping[int, Mapping[int, str]]],
) -> Iterator[Reply]:
    for video in videos:
        owing = {run_id: by[video.index] for run_id, by in stored.items() if video.index in by}
        yield from watcher.watch(video, owing)


def _describe(watcher: LaneWatcher, folders: Mapping[str, Path], stem: str) -> None:
    """Write down each engine, at the start and again when sizes and bytes are known."""
    for run_id, description in watcher.describe().items():
        write_text(folders[run_id] / f"{stem}.engine.json", json.dumps(description))


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
