"""The streams of every degree and length, written by several processes; what is there stays."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from reproduction.degrees.plan import World
from video_qa.nanostream.write import Settings, write_split

VIDEO_FPS = 2
"""The highest rate that is sampled, so that all rates watch the same files."""


def settings_of(world: World) -> Settings:
    """What decides every byte of its streams."""
    minutes = world.length.seconds / 60
    degree = {} if world.degree == "clean" else {"degree": world.degree}
    return Settings(
        split="test",
        num_streams=world.length.num_streams,
        min_minutes=minutes,
        max_minutes=minutes,
        fps=VIDEO_FPS,
        questions_per_task=world.length.questions_per_task,
        **degree,  # type: ignore[arg-type]
    )


def annotations_of(world: World, data: Path) -> Path:
    """The file of its multiple-choice questions."""
    return data / world.name / "nanostream_test.json"


def write_streams(worlds: Sequence[World], data: Path, jobs: int) -> None:
    """Write what is missing.

    Raises:
        NanoStreamError: a folder holds other streams or cannot be written.
    """
    folders = [data / world.name for world in worlds]
    settings = [settings_of(world) for world in worlds]
    if jobs == 1:
        for folder, own in zip(folders, settings, strict=True):
            write_split(folder, own)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        list(pool.map(write_split, folders, settings))
