r"""How well workers of a Ray cluster are kept busy: real actors, an engine that sleeps.

    python scripts/bench_cluster.py --workers 1,2,4,8,16 --videos_per_worker 60
    python scripts/bench_cluster.py --workers 16 --videos 1000

Several raylets are started on this machine. Each video is one question that takes 2 s of sleep, so
that any number of workers fits on any number of cores, and what is measured is everything between
two videos: the reply, the row on the disk, the next video handed out. Efficiency is the sleep after
the last worker was ready / (workers x time until the last answer was stored). Prints a table for
docs/cluster.md; --out writes the numbers as JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

if __package__ in (None, ""):  # run as a script: import from the repository root, not from here
    sys.path[0] = str(Path(__file__).resolve().parents[1])

SLEEP_SECONDS = 2.0
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class SleepingModel:
    """Notes in a file of its own when it was ready and when it slept."""

    last_timing = None

    def __init__(self, folder: Path) -> None:
        self._notes = (folder / f"{os.getpid()}.txt").open("a", buffering=1)
        self._notes.write(f"ready {time.time()}\n")

    def clear_cache(self) -> None: ...

    def encode_init_prompt(self) -> None: ...

    def encode_video_chunk(self, frames: Any, times_seconds: Any) -> None: ...

    def predict_and_compress(self) -> None: ...

    def add_history(self, question: str, answer: str, body: str = "") -> None: ...

    def get_prompt(self, query: str, mc: bool = False) -> str:
        return query

    def describe(self) -> dict[str, Any]:
        return {}

    def question_answering(self, request: dict[str, str], max_new_tokens: int) -> str:
        start = time.time()
        time.sleep(SLEEP_SECONDS)
        self._notes.write(f"slept {start} {time.time()}\n")
        return "A"


def load_model(model_path: str, **settings: Any) -> tuple[SleepingModel, None]:
    """For `--engine scripts.bench_cluster:load_model`."""
    return SleepingModel(Path(model_path)), None


@dataclass(frozen=True)
class Measured:
    """One run."""

    num_workers: int
    num_videos: int
    ready_seconds: float
    """From the start of the run until the last worker had loaded."""
    busy_seconds: float
    """From then until the last answer was stored."""
    efficiency_percent: float
    ready_mib: float
    """Resident memory of the runner when the last worker was ready."""
    end_mib: float


def write_dataset(folder: Path, num_videos: int) -> Path:
    """Entries that share one short video, a question each."""
    np.save(folder / "video.npy", np.zeros((2, 8, 8, 3), np.uint8))
    question = {"question": "?", "choices": ["a", "b"], "answer": "a", "end_time": 1}
    entry = {"video_path": str(folder / "video.npy"), "conversations": [question]}
    entries = [{"video_id": index} | entry for index in range(num_videos)]
    path = folder / "annotations.json"
    path.write_text(json.dumps(entries))
    return path


@contextlib.contextmanager
def local_cluster(num_workers: int, num_nodes: int) -> Iterator[str]:
    """A head and some nodes with a CPU on paper for each worker; yields the address."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        for node in range(num_nodes):
            num_cpus = len(range(node, num_workers, num_nodes))
            if num_cpus:
                cluster.add_node(num_cpus=num_cpus)
        yield cluster.address
    finally:
        cluster.shutdown()


@contextlib.contextmanager
def memory_samples() -> Iterator[list[tuple[float, float]]]:
    """(time, MiB resident) of this process, once per second."""
    samples: list[tuple[float, float]] = []
    stop = threading.Event()

    def sample() -> None:
        while not stop.wait(1.0):
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            samples.append((time.time(), pages * PAGE_BYTES / 2**20))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        stop.set()
        thread.join()


def measure(num_workers: int, num_videos: int, num_nodes: int) -> Measured:
    """Run the whole runner once."""
    from video_qa.run_infer import main

    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        address = stack.enter_context(local_cluster(num_workers, num_nodes))
        samples = stack.enter_context(memory_samples())
        notes = folder / "notes"
        notes.mkdir()
        command = [f"--model={notes}", "--engine=scripts.bench_cluster:load_model", "--kv_size=64"]
        command += [f"--anno_path={write_dataset(folder, num_videos)}", "--device=cpu"]
        command += ["--dataset=custom", f"--save_dir={folder / 'out'}", "--launcher=ray"]
        start = time.time()
        code = main([*command, f"--ray_address={address}"])
        if code:
            raise RuntimeError(f"the run ended with exit code {code}")
        return summary(num_videos, start, notes, folder / "out", samples)


def summary(
    num_videos: int, start: float, notes: Path, out: Path, samples: Sequence[tuple[float, float]]
) -> Measured:
    """What the workers' notes, the rows and the samples of memory amount to."""
    lines = [line.split() for path in notes.iterdir() for line in path.read_text().splitlines()]
    ready = [float(line[1]) for line in lines if line[0] == "ready"]
    slept = [(float(line[1]), float(line[2])) for line in lines if line[0] == "slept"]
    rows = (out / "predictions.jsonl").read_text().splitlines()
    assert len(rows) == len(slept) == num_videos, "every video once"
    all_ready, end = max(ready), (out / "predictions.jsonl").stat().st_mtime  # merged at the end
    asleep = sum(max(0.0, last - max(first, all_ready)) for first, last in slept)
    memory = [mib for moment, mib in samples if moment >= all_ready]
    return Measured(
        len(ready),
        num_videos,
        round(all_ready - start, 1),
        round(end - all_ready, 1),
        round(100 * asleep / (len(ready) * (end - all_ready)), 1),
        round(memory[0], 1),
        round(memory[-1], 1),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--workers", default="1,2,4,8,16", help="numbers of workers (default: %(default)s)")
    add("--videos", type=int, help="videos of each run (default: by --videos_per_worker)")
    add("--videos_per_worker", type=int, default=30, help="default: %(default)s")
    add("--nodes", type=int, default=4, help="raylets beside the head (default: %(default)s)")
    add("--out", type=Path, help="JSON file for the numbers; runs that it holds are kept")
    options = parser.parse_args(argv)
    found = []
    for number in (int(text) for text in options.workers.split(",")):
        num_videos = options.videos or options.videos_per_worker * number
        found.append(asdict(measure(number, num_videos, options.nodes)))
    earlier = json.loads(options.out.read_text()) if options.out and options.out.exists() else []
    if options.out:
        options.out.write_text(json.dumps(earlier + found, indent=2) + "\n")
    print("| workers | videos | all ready after | then | efficiency | runner's memory |")
    print("|---|---|---|---|---|---|")
    for one in earlier + found:
        print(
            f"| {one['num_workers']} | {one['num_videos']} | {one['ready_seconds']} s | "
            f"{one['busy_seconds']} s | {one['efficiency_percent']} % | "
            f"{one['ready_mib']} to {one['end_mib']} MiB |"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
