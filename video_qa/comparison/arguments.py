"""The comparison's command line."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from video_qa.launchers.choice import add_launcher_arguments
from video_qa.questions.benchmarks import DATASETS
from video_qa.runner.devices import HELP as DEVICES_HELP
from video_qa.runner.run_arguments import ANNOTATION_HELP, NUM_CHUNKS_HELP
from video_qa.settings.run_settings import MODEL_HELP, POLICIES_HELP, add_settings_arguments

FLOORS = ("blank_frames", "last_frames:num_frames=1")
"""What can be answered from the questions alone, and from what is on the screen."""


def parser(description: str, prog: str) -> argparse.ArgumentParser:
    """All arguments of ``video_qa/compare.py``."""
    built = shared_parser(description, prog)
    built.add_argument(
        "--floors",
        action="store_true",
        help=f"beside the policies also what each of them should be above: {', '.join(FLOORS)} "
        "(black frames in the place of the video; the last frame alone)",
    )
    help_runs = "finished run folders to put beside"
    built.add_argument("--runs", type=Path, nargs="+", default=[], help=help_runs)
    return built


def shared_parser(description: str, prog: str) -> argparse.ArgumentParser:
    """Arguments of every program that lets memories watch side by side."""
    built = argparse.ArgumentParser(
        prog=prog,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = built.add_argument
    add("--model", required=True, help=MODEL_HELP)
    add("--dataset", choices=tuple(DATASETS), required=True, help="benchmark")
    add(
        "--policies",
        type=_names,
        required=True,
        help="memory policies, e.g. two_speed,recent,last_frames:num_frames=4; the first one is "
        f"drawn boldest; known: {POLICIES_HELP}",
    )
    add("--kv_sizes", type=_sizes, required=True, help="visual tokens per layer, e.g. 64,128")
    add("--sample_fps", type=float, default=1, help="frames per second to watch (default: 1)")
    add("--num_chunks", type=int, help=NUM_CHUNKS_HELP)
    add("--anno_path", type=Path, help=ANNOTATION_HELP)
    add("--video_root", type=Path, help="folder under which the annotated videos are found")
    add("--devices", "--device", help=f"{DEVICES_HELP}; default: all GPUs, else cpu")
    add("--limit", type=int, help="only the first LIMIT videos")
    add("--overwrite", action="store_true", help="throw away what these runs hold")
    add("--only_report", action="store_true", help="run nothing; evaluate what is finished")
    no_report = "stop at comparison.csv and runs.json; --only_report makes the rest of them"
    add("--no_report", action="store_true", help=no_report)
    add("--results_root", type=Path, default=Path("results"), help="default: %(default)s")
    add("--out", type=Path, help="folder of the comparison (default: beside the runs)")
    add_settings_arguments(built, with_policy=False)
    add_launcher_arguments(built)
    built.set_defaults(debug=False)
    return built


def names_of(text: str) -> list[str]:
    """Between commas; those inside of brackets belong to a value: ``hermes:smoothing=[0,0,0]``."""
    return [name.strip() for name in re.split(r",(?![^\[]*\])", text) if name.strip()]


def _names(text: str) -> list[str]:
    names = names_of(text)
    if not names:
        raise argparse.ArgumentTypeError("expected names with commas between them")
    return names


def _sizes(text: str) -> list[int]:
    try:
        return [int(size) for size in _names(text)]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected whole numbers with commas between them, got '{text}'"
        ) from None
