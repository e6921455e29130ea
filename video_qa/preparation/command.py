r"""Prepare a data set: official files in, annotation and videos for the runner out.

    python scripts/prepare_data.py streamingbench --source downloads/streamingbench

Unpacks the archives below --source (stopped or out of disk: the same command goes on), converts
the official annotation, compares its counts with the known ones, and opens every video. What is
missing or malformed is named, on the terminal and in full in preparation.txt beside the annotation.
How to get the official files: data/README.md. Exit code 0: complete; 1: something is missing,
malformed or different; 2: the command cannot be carried out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from eval.whole_file import write_text
from video_qa.preparation.datasets import DATA_SETS
from video_qa.preparation.prepare import REPORT, Places, Report, check, compare, prepare


def main(argv: Sequence[str] | None = None, prog: str = "prepare_data.py") -> int:
    """Run the command line; returns the exit code."""
    parser = _parser(prog)
    arguments = parser.parse_args(argv)
    if arguments.source is None and not (arguments.check or arguments.compare):
        source = DATA_SETS[arguments.dataset].source
        parser.error(f"--source is missing: the folder of the official files ({source})")
    try:
        return _run(arguments)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _run(arguments: argparse.Namespace) -> int:
    data_set = DATA_SETS[arguments.dataset]
    if arguments.videos is not None and not arguments.videos.is_dir():
        raise ValueError(f"--videos {arguments.videos} is not a folder")
    places = Places(arguments.data_root, data_set, arguments.videos)
    report = Report()
    if arguments.source is not None and not arguments.check:
        prepare(places, arguments.source, report, arguments.skip_malformed)
    if arguments.check or arguments.source is not None:
        check(places, report, known_only=arguments.check)
    if arguments.compare is not None:
        compare(places, arguments.compare, report)
    write_text(places.folder / REPORT, "\n".join(report.lines) + "\n")
    print("complete" if report.is_fine else f"NOT complete, see {places.folder / REPORT}")
    return 0 if report.is_fine else 1


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("dataset", metavar="DATASET", choices=tuple(DATA_SETS), help=", ".join(DATA_SETS))
    add("--source", type=Path, help="folder of the official files: annotation and archives")
    add("--videos", type=Path, help="folder of videos that are unpacked already; they stay there")
    add("--data_root", type=Path, default=Path("data"), help="default: %(default)s")
    add("--check", action="store_true", help="only look at what was prepared before")
    add(
        "--compare",
        type=Path,
        metavar="ANNOTATION",
        help="say what differs from this annotation file, such as the authors'",
    )
    add(
        "--skip_malformed",
        action="store_true",
        help="leave malformed records out, and say which, instead of stopping (exit code 1)",
    )
    return parser
