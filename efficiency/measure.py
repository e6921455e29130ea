"""All paths watch the same stream, chunk by chunk in turn, and answer at the same points of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from efficiency.lane import Lane
from efficiency.paths import Path
from efficiency.question import question_of
from inference.errors import DeviceMemoryError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """What is watched and asked."""

    frames: tuple[int, ...]
    """Lengths of the stream at which questions are asked, ascending."""
    chunk_frames: int
    frame_size: tuple[int, int]
    """Height and width in pixels."""
    question_tokens: tuple[int, ...] = (60, 300)
    num_questions: int = 10
    """At each length and of each size, besides one to warm up."""
    new_tokens: int = 16
    """Of the answers to the shortest question; of the others one is enough."""
    growing_frames: int = 256
    """Where a path that keeps everything stops."""

    def __post_init__(self) -> None:
        if not self.frames or sorted(set(self.frames)) != list(self.frames) or self.frames[0] < 1:
            raise ValueError(f"frames must be ascending and positive, got {self.frames}")
        if self.chunk_frames < 1 or any(count % self.chunk_frames for count in self.frames):
            raise ValueError(
                f"frames {self.frames} must be whole chunks of {self.chunk_frames} frames"
            )


def noise(settings: Settings) -> Tensor:
    """A chunk of frames (f, H, W, 3) uint8; others are made of it by `roll`."""
    generator = torch.Generator().manual_seed(0)
    shape = (settings.chunk_frames, *settings.frame_size, 3)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def measure(
    paths: Mapping[str, Path],
    settings: Settings,
    noted: Callable[[dict[str, Lane]], object] = lambda lanes: None,
) -> dict[str, Lane]:
    """Run the stream; odd chunks are timed part by part, even ones as a whole.

    Paths whose `seen` is set take that for every chunk. A path that fails says so in its lane, and
    the others go on.

    Args:
        noted: called with all lanes after each round of questions.

    Returns:
        Name -> the samples of a path; a growing path stops early.
    """
    lanes = {name: Lane(path) for name, path in paths.items()}
    chunk = noise(settings)
    prompts = [_prompt(paths, count) for count in settings.question_tokens]
    for lane in lanes.values():
        _guarded(lane, partial(lane.warm_up, chunk, prompts[0][0]))
    going = dict(lanes)
    for number in range(settings.frames[-1] // settings.chunk_frames):
        frames = chunk.roll(number + 1, dims=1)
        for lane in _turned(list(going.values()), number):
            _guarded(lane, partial(lane.watch, frames, in_parts=number % 2 == 0))
        watched = (number + 1) * settings.chunk_frames
        if watched in settings.frames:
            _ask(list(going.values()), prompts, settings)
            logger.info("%d frames: %s", watched, ", ".join(going))
            noted(lanes)
        last = watched == settings.frames[-1]
        for name, lane in list(going.items()):
            long_enough = lane.path.policy == "none" and watched >= settings.growing_frames
            if last or long_enough or lane.is_over:
                _finish(lane, frames, prompts[0][0])
                del going[name]
    return lanes


def _guarded(lane: Lane, run: Callable[[], object]) -> None:
    """A path for which the device is too small stops, one that breaks has failed; what it has
    measured, and the other paths, are not lost."""
    if lane.is_over:
        return
    try:
        run()
    except (DeviceMemoryError, torch.OutOfMemoryError) as error:
        lane.stopped = f"the device is full after {lane.num_frames} frames: {error}"
        logger.warning("%s: %s", lane.path.name, lane.stopped)
    except Exception as error:
        lane.failed = f"after {lane.num_frames} frames: {type(error).__name__}: {error}"
        logger.exception("%s failed %s", lane.path.name, lane.failed)


def _finish(lane: Lane, frames: Tensor, prompt: str) -> None:
    """Count at the end, then give back what the path holds."""
    if lane.num_frames not in lane.at and lane.num_frames:
        lane.note()
    _guarded(lane, partial(lane.count, frames, prompt))
    lane.path.restart()


def _prompt(paths: Mapping[str, Path], num_tokens: int) -> tuple[str, int]:
    processor = next(iter(paths.values())).engine.processor
    prompt = question_of(processor, num_tokens)
    return prompt, len(processor.encode(prompt))


def _turned(lanes: list[Lane], number: int) -> list[Lane]:
    """Another goes first each time."""
    first = number % len(lanes) if lanes else 0
    return lanes[first:] + lanes[:first]


def _ask(lanes: list[Lane], prompts: list[tuple[str, int]], settings: Settings) -> None:
    for repeat in range(settings.num_questions + 1 if settings.num_questions else 0):
        for index, (prompt, count) in enumerate(prompts):
            new_tokens = 1 if index else settings.new_tokens
            for lane in _turned(lanes, repeat):
                ask = partial(lane.ask, prompt, str(count), new_tokens, warm=repeat == 0)
                _guarded(lane, ask)
    for lane in lanes:
        if not lane.is_over:
            lane.note()
