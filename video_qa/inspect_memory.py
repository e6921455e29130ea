r"""See what a memory still remembers of a video.

    python video_qa/inspect_memory.py talk.mp4 --model nano --policy two_speed --kv_size 64 \
        --out inspected

Streams the video once and writes, below --out only: retention.csv (tokens per snapshot, layer and
frame; frame -2 counts summary tokens, -3 the text of frames, such as time stamps), retention.svg
(the picture), and memory.html (the frames' thumbnails, each with the share of it that is held at
the moment and in the layer chosen there).
Exit code 0: written; 2: the command cannot be carried out; 130: stopped.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):  # run as a script: import from the repository root, not from here
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from tqdm import tqdm

from video import open_video
from video_qa.base import watched
from video_qa.comparison.pages.memory_page import Thumbnails, write_inspection
from video_qa.lanes.retention import RetentionLog
from video_qa.runner.devices import HELP as DEVICES_HELP
from video_qa.settings.model_registry import check_names, load_engine
from video_qa.settings.run_settings import (
    MODEL_HELP,
    RunSettings,
    SettingsError,
    add_settings_arguments,
)


def main(argv: Sequence[str] | None = None, prog: str = "inspect_memory.py") -> int:
    """Stream, write; returns the exit code."""
    arguments = _parser(prog).parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        settings = RunSettings.among(vars(arguments))
        check_names(settings)
        _check_out(arguments.out)
        page = inspect(arguments.video, settings, arguments)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return 130
    print(f"Memory page: {page}")
    return 0


def inspect(video: Path, settings: RunSettings, arguments: argparse.Namespace) -> Path:
    """Watch the whole video, then write the files; returns the page.

    Raises:
        ValueError, OSError: bad video, model or folder.
        RuntimeError: the policy keeps everything and the model's range is full.
    """
    log, thumbnails = RetentionLog(arguments.snapshots), Thumbnails()
    with open_video(
        video,
        sample_fps=settings.sample_fps,
        sampling=settings.sampling,
        backend=settings.video_backend,
        chunk_frames=settings.chunk_frames,
        decode_workers=settings.decode_workers,
    ) as stream:
        engine = load_engine(settings, arguments.device)
        ahead = engine.lookahead.over(*watched(stream, None), engine.encode_features)
        for chunk, seen in tqdm(ahead, desc="Watching", unit="chunk"):
            features = seen or engine.encode_features(chunk.frames)
            engine.encode_video_chunk(chunk.frames, chunk.times_seconds, seen=features)
            engine.predict_and_compress()
            log.observe(engine, features, list(chunk.times_seconds))
            thumbnails.add(chunk.frames, features.frames_per_step)
    if not log.snapshots:
        raise ValueError(f"{video}: the video has no frame to watch")
    title = f"{settings.policy} at {settings.kv_size} tokens per layer: {video.name}"
    return write_inspection(arguments.out, title, log, thumbnails)


def _check_out(out: Path) -> None:
    """Create the folder now: better no work at all than work that cannot be stored."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise SettingsError(
            f"cannot write to --out {out}: {error.strerror or error}; give another folder"
        ) from error


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("video", type=Path, help="video file, folder of images or .npy array")
    add("--model", required=True, help=MODEL_HELP)
    add("--kv_size", type=int, required=True, help="visual tokens kept per layer")
    add("--sample_fps", type=float, default=1, help="frames per second to watch (default: 1)")
    add("--out", type=Path, required=True, help="folder to write to, created")
    add("--snapshots", type=int, default=24, help="about how many states to record (default: 24)")
    add("--device", help=f"{DEVICES_HELP}; default: a GPU if there is one")
    add_settings_arguments(parser)
    parser.set_defaults(streaming=True)
    return parser


if __name__ == "__main__":
    sys.exit(main())
