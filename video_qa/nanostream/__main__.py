"""Command line: `python -m video_qa.nanostream --out data/nanostream --split test`."""

import argparse
import sys
from pathlib import Path

from video_qa.nanostream.degrees import DEGREES
from video_qa.nanostream.questions import EDITIONS
from video_qa.nanostream.write import FORMATS, SPLITS, NanoStreamError, Settings, write_split

USAGE_ERROR = 2
INTERRUPTED = 130


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    default = Settings()
    parser = argparse.ArgumentParser(
        prog="python -m video_qa.nanostream",
        description="Generate streams (H.264 mp4, or arrays of frames) and questions about them. "
        "The same options give the same streams; a killed run continues where it stopped.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder for videos and annotation files")
    add("--split", choices=SPLITS, default=default.split, help="splits share no stream")
    add("--num_streams", type=int, default=default.num_streams, help="videos to write")
    add("--min_minutes", type=float, default=default.min_minutes, help="shortest stream")
    add("--max_minutes", type=float, default=default.max_minutes, help="longest stream")
    add("--seed", type=int, default=default.seed, help="another seed, other streams")
    add("--fps", type=int, default=default.fps, help="frames per second of the video")
    add(
        "--video_format",
        choices=FORMATS,
        default=default.video_format,
        help="npy: uncoded frames, one per second (--fps 1), written and read without PyAV",
    )
    add("--size", type=int, default=default.size, help="width and height in pixels, even")
    add(
        "--questions_per_task",
        type=int,
        default=default.questions_per_task,
        help="questions of each task per stream, asked with options and in words",
    )
    add(
        "--degree",
        choices=tuple(DEGREES),
        default=default.degree,
        help="how hard the streams are: noisy (sensor, light, jitter), busy (flashes, cuts, odd "
        "things, bursts and lulls), rich (hundreds of looks)",
    )
    add(
        "--edition",
        type=int,
        choices=tuple(EDITIONS),
        default=default.edition,
        help="which questions are asked; hermes-nano was trained, and figures up to 2026-11-25 "
        "were measured, on 1",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    options = vars(parse_arguments(argv))
    out = options.pop("out")
    try:
        files = write_split(out, Settings(**options))
    except NanoStreamError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE_ERROR
    except KeyboardInterrupt:
        print("interrupted; run the same command again to continue", file=sys.stderr)
        return INTERRUPTED
    for file in files.values():
        print(file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
