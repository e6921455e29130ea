"""The streams of every degree and length, written by several processes; what is there stays."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from reproduction.degrees.plan import World
from video_qa.nanostream.write import NanoStreamError, Settings, write_split
from video_qa.runner.orphans import end_with

VIDEO_FPS = 2
"""The highest rate that is sampled, so that all rates watch the same files."""


def settings_of(world: World) -> Settings:
    """What decides every byte of its streams."""
    minutes = world.length.seconds / 60
    return Settings(
        split="test",
        num_streams=world.length.num_streams,
        min_minutes=minutes,
        max_minutes=minutes,
        fps=VIDEO_FPS,
        questions_per_task=world.length.questions_per_task,
        degree=world.degree,
    )


def annotations_of(world: World, data: Path) -> Path:
    """The file of its multiple-choice questions."""
    return data / world.name / "nanostream_test.json"


def write_streams(worlds: Sequence[World], data: Path, jobs: int) -> None:
    """Write what is missing; videos that are there stay.

    Raises:
        NanoStreamError: a folder holds other streams or cannot be written.
    """
    parts = [
        [(data / world.name, settings_of(world)) for world in worlds[i::jobs]] for i in range(jobs)
    ]
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_write, args=(part, os.getpid()), daemon=True)
        for part in parts
        if part
    ]
    try:
        for process in processes:
            process.start()
        for process in processes:
            process.join()
    finally:
        for process in processes:
            if process.pid is not None:
                process.kill()  # leaves whole videos, and at most one that is not taken for one
                process.join()
    if any(process.exitcode for process in processes):
        raise NanoStreamError("the streams could not be written; the reason stands above")


def _write(splits: Sequence[tuple[Path, Settings]], parent: int) -> None:
    end_with(parent)
    for folder, settings in splits:
        try:
            write_split(folder, settings)
        except NanoStreamError as error:
            sys.exit(f"error: {error}")
