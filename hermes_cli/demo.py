"""The main job on a fresh machine: real video in, two memories side by side out.

Writes a small split of NanoStream (H.264 video and time-stamped questions), lets hierarchical
memory and a sliding window of the same size watch it with two workers, looks into the former, and
prints tables and the paths of the pages. Takes a few minutes on two cores.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from hermes.imports import HOME

POLICIES = ("hermes", "recent")
DATASETS = ("nanostream", "nanostream_words")
EDITION = "1"  # of NanoStream: the one that the model was trained on


def main(argv: Sequence[str] | None = None, prog: str = "demo.py") -> int:
    """Command line; returns the exit code."""
    options = _parse(argv, prog)
    model = options.model
    _run("-m", "video_qa.nanostream", "--out", str(options.data), *_split(options))
    reports = {dataset: _compare(options, model, dataset) for dataset in DATASETS}
    page = _inspect(options, model)
    print(f"\nvideos and annotations: {options.data}")
    for dataset, report in reports.items():
        print(f"{dataset}: {report}")
    print(f"what {POLICIES[0]} still holds: {page}")
    return 0


def _parse(argv: Sequence[str] | None, prog: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("--device", default="", help="cpu, cuda, ... (default: a GPU if any)")
    parser.add_argument("--model", default="nano", help="model key or checkpoint (default: nano)")
    parser.add_argument("--kv_size", type=int, default=64, help="visual tokens per layer")
    parser.add_argument("--num_streams", type=int, default=6, help="videos to write")
    parser.add_argument("--minutes", type=float, default=4.0, help="length of each video")
    parser.add_argument(
        "--video_format",
        choices=("mp4", "npy"),
        default="mp4",
        help="npy: uncoded frames, which need no PyAV (default: mp4)",
    )
    parser.add_argument("--data", type=Path, default=Path("data/nanostream_demo"))
    parser.add_argument("--results", type=Path, default=Path("results/demo"))
    return parser.parse_args(argv)


def _split(options: argparse.Namespace) -> list[str]:
    length = str(options.minutes)
    return [
        *("--split", "test", "--num_streams", str(options.num_streams)),
        *("--min_minutes", length, "--max_minutes", length, "--edition", EDITION),
        *(("--video_format", "npy", "--fps", "1") if options.video_format == "npy" else ()),
    ]


def _compare(options: argparse.Namespace, model: str, dataset: str) -> Path:
    out = options.results / Path(model).name / f"{dataset}-comparison"
    _run(
        *("video_qa/compare.py", "--model", model, "--dataset", dataset),
        *("--anno_path", str(options.data / f"{dataset}_test.json")),
        *("--policies", ",".join(POLICIES), "--kv_sizes", str(options.kv_size)),
        *("--sample_fps", "1", "--num_chunks", "2", "--results_root", str(options.results)),
        *("--out", str(out), *_device(options)),
    )
    return out / "report.html"


def _inspect(options: argparse.Namespace, model: str) -> Path:
    out = options.results / Path(model).name / "inspect"
    video = sorted((options.data / "test").glob(f"*.{options.video_format}"))[0]
    _run(
        *("video_qa/inspect_memory.py", str(video), "--model", model, "--policy", POLICIES[0]),
        *("--kv_size", str(options.kv_size), "--sample_fps", "1", "--out", str(out)),
        *_device(options),
    )
    return out / "memory.html"


def _device(options: argparse.Namespace) -> list[str]:
    return ["--device", options.device] if options.device else []


def _run(*arguments: str) -> None:
    """Run a Python program of ours, from wherever we lie, in the working directory."""
    print(f"\n> python {shlex.join(arguments)}", flush=True)
    command = [str(HOME / word) if word.endswith(".py") else word for word in arguments]
    path = os.pathsep.join(filter(None, (str(HOME), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run([sys.executable, *command], env=environment, check=False)
    if done.returncode:
        sys.exit(f"the command above failed with exit code {done.returncode}")
