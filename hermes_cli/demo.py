"""The main job on a fresh machine: real video in, two memories side by side out.

Writes a small split of NanoStream (H.264 video and time-stamped questions), lets the runner watch
it twice with two workers - hierarchical memory and a sliding window of the same size - and prints
both tables. Takes a few minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hermes.imports import HOME

POLICIES = ("hermes", "recent")
DATASETS = {"nanostream": "general", "nanostream_words": "words"}
"""Dataset key -> section of metrics.json."""


def main(argv: Sequence[str] | None = None, prog: str = "demo.py") -> int:
    """Command line; returns the exit code."""
    options = _parse(argv, prog)
    model = options.model
    _run("-m", "video_qa.nanostream", "--out", str(options.data), *_split(options))
    folders = {}
    for dataset in DATASETS:
        for policy in POLICIES:
            folders[dataset, policy] = _infer(options, model, dataset, policy)
    _print_tables(folders)
    print(f"\nvideos and annotations: {options.data}")
    for (dataset, policy), folder in folders.items():
        print(f"{dataset}, {policy}: {folder}")
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
        *("--min_minutes", length, "--max_minutes", length),
        *(("--video_format", "npy", "--fps", "1") if options.video_format == "npy" else ()),
    ]


def _infer(options: argparse.Namespace, model: str, dataset: str, policy: str) -> Path:
    folder = options.results / Path(model).name / f"{dataset}-{policy}-kv{options.kv_size}"
    _run(
        *("video_qa/run_infer.py", "--model", model, "--dataset", dataset),
        *("--anno_path", str(options.data / f"{dataset}_test.json"), "--policy", policy),
        *("--kv_size", str(options.kv_size), "--sample_fps", "1", "--num_chunks", "2"),
        *("--save_dir", str(folder)),
        *(("--device", options.device) if options.device else ()),
    )
    return folder


def _run(*arguments: str) -> None:
    """Run a Python program of ours, from wherever we lie, in the working directory."""
    print(f"\n> python {shlex.join(arguments)}", flush=True)
    command = [str(HOME / word) if word.endswith(".py") else word for word in arguments]
    path = os.pathsep.join(filter(None, (str(HOME), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run([sys.executable, *command], env=environment, check=False)
    if done.returncode:
        sys.exit(f"the command above failed with exit code {done.returncode}")


def _print_tables(folders: dict[tuple[str, str], Path]) -> None:
    for dataset, section in DATASETS.items():
        tables = {
            policy: json.loads((folders[dataset, policy] / "metrics.json").read_text())
            for policy in POLICIES
        }
        print(f"\n{dataset}: accuracy in % (95 % interval)")
        print(f"{'':24}" + "".join(f"{policy:>24}" for policy in POLICIES))
        for group in tables[POLICIES[0]][section]["categories"]:
            cells = [tables[policy][section]["categories"][group] for policy in POLICIES]
            print(f"{group:24}" + "".join(f"{_cell(cell):>24}" for cell in cells))


def _cell(estimate: dict[str, Any]) -> str:
    interval = estimate.get("interval95_percent")
    shown = f" ({interval[0]:.0f}-{interval[1]:.0f})" if interval else ""
    return f"{estimate['accuracy_percent']:.1f}{shown}"
