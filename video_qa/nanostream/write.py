"""Videos and annotation files of one split; interrupted work is continued, never half-taken."""

import json
import logging
import os
import random
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from eval.whole_file import write_text
from video_qa.nanostream.degrees import CLEAN, DEGREES
from video_qa.nanostream.facts import follow
from video_qa.nanostream.picture.render import render
from video_qa.nanostream.picture.video import FPS, SIZE, encode
from video_qa.nanostream.questions import (
    EDITIONS,
    FIRST_EDITION,
    NEWEST_EDITION,
    Draft,
    options_of,
)
from video_qa.nanostream.world import SHORTEST_SECONDS, World, make_world

logger = logging.getLogger(__name__)

SPLITS = {"train": 1, "test": 2}
CHOICE, WORDS = "nanostream", "nanostream_words"  # annotation files: with options, and without
END_OFFSET_SECONDS = 0.1  # a question at k.1 s has seen second k and, at 1 fps, no later frame
FORMATS = ("mp4", "npy")
SETTINGS_FILE = "settings.json"


class NanoStreamError(ValueError):
    """The request cannot be carried out; the message says what to do."""


@dataclass(frozen=True)
class Settings:
    """What decides every byte of a split.

    `video_format` "npy" stores frames as they were rendered, one per second, without a video coder.
    `questions_per_task` counts the seconds asked about, per stream and task; each is asked once
    with options and once in words. `edition` decides which questions are asked, not what is seen,
    and `degree` how hard it is to watch and to hold (`degrees.py`).

    Raises:
        NanoStreamError: a value is out of range.
    """

    split: str = "test"
    num_streams: int = 8
    min_minutes: float = 1.0
    max_minutes: float = 1.0
    seed: int = 0
    fps: int = FPS
    size: int = SIZE
    video_format: str = "mp4"
    questions_per_task: int = 2
    edition: int = NEWEST_EDITION
    degree: str = CLEAN

    def __post_init__(self) -> None:
        shortest = SHORTEST_SECONDS / 60
        rules = {
            f"split is one of {', '.join(SPLITS)}": self.split in SPLITS,
            "num_streams >= 1": self.num_streams >= 1,
            f"edition is one of {', '.join(map(str, EDITIONS))}": self.edition in EDITIONS,
            f"degree is one of {', '.join(DEGREES)}": self.degree in DEGREES,
            "questions_per_task >= 1": self.questions_per_task >= 1,
            f"{shortest:.3f} <= min_minutes <= max_minutes <= 60": (
                shortest <= self.min_minutes <= self.max_minutes <= 60
            ),
            "seed >= 0": self.seed >= 0,
            "1 <= fps <= 60": 1 <= self.fps <= 60,
            f"video_format is one of {', '.join(FORMATS)}": self.video_format in FORMATS,
            "fps = 1 with video_format npy": self.video_format != "npy" or self.fps == 1,
            "size is even, 56 to 1024": 56 <= self.size <= 1024 and self.size % 2 == 0,
        }
        broken = [rule for rule, holds in rules.items() if not holds]
        if broken:
            raise NanoStreamError(f"need {'; '.join(broken)}; got {asdict(self)}")


def stream_seed(settings: Settings, number: int) -> int:
    """Splits, seeds and streams never share a seed (up to 2**20 streams)."""
    return (settings.seed * len(SPLITS) + SPLITS[settings.split] - 1) * (1 << 20) + number


def make_stream(settings: Settings, number: int) -> World:
    seed = stream_seed(settings, number)
    minutes = random.Random(f"length {seed}").uniform(settings.min_minutes, settings.max_minutes)
    return make_world(seed, round(minutes * 60), settings.degree)


def pick_drafts(world: World, per_task: int, edition: int) -> list[tuple[int, str, Draft]]:
    """(second, task, draft) in order of time, `per_task` of each task where possible.

    Every second at which a task gives a question is equally likely.
    """
    rng = random.Random(f"questions {world.seed}")
    tasks = EDITIONS[edition]
    candidates: dict[str, list[tuple[int, Draft]]] = {name: [] for name in tasks}
    for facts in follow(world):
        if world.unseen(facts.second):
            continue
        for name, task in tasks.items():
            draft = task(facts, rng)
            if draft:
                candidates[name].append((facts.second, draft))
    picked = [
        (second, name, draft)
        for name, found in candidates.items()
        for second, draft in rng.sample(found, min(per_task, len(found)))
    ]
    return sorted(picked, key=lambda entry: entry[:2])


def annotate(
    world: World, name: str, video_path: str, per_task: int, edition: int
) -> dict[str, dict]:
    """The entries of one stream in the released schema, by annotation file."""
    rng = random.Random(f"options {world.seed}")
    entries: dict[str, dict] = {}
    drafts = pick_drafts(world, per_task, edition)
    for kind in (CHOICE, WORDS):
        conversations = []
        for second, task, draft in drafts:
            line: dict[str, Any] = {"question": draft.question, "answer": draft.answer}
            line |= {"choices": options_of(draft, rng)} if kind == CHOICE else {}
            conversations.append(line | {"end_time": second + END_OFFSET_SECONDS, "task": task})
        entries[kind] = {
            "video_id": name,
            "video_path": video_path,
            "duration": world.num_seconds,
            "conversations": conversations,
        }
    return entries


def _write_video(world: World, path: Path, settings: Settings) -> None:
    part = path.with_suffix(".part")
    try:
        frames = render(world, settings.fps, settings.size)
        if settings.video_format == "npy":
            with part.open("wb") as file:
                np.save(file, np.stack(list(frames)))
        else:
            encode(frames, str(part), settings.fps, settings.size)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _claim(out: Path, settings: Settings) -> None:
    """Create the folder, or make sure that what lies there was made with the same settings."""
    path = out / f"{settings.split}_{SETTINGS_FILE}"
    try:
        (out / settings.split).mkdir(parents=True, exist_ok=True)
        if unequal := _unlike(path, asdict(settings)):
            raise NanoStreamError(
                f"{path} belongs to a split made with other settings ({'; '.join(unequal)}); "
                f"ask for those, choose another --out, or delete {out / settings.split} and {path}"
            )
        write_text(path, json.dumps(asdict(settings), indent=2, sort_keys=True) + "\n")
    except OSError as error:
        raise NanoStreamError(f"--out {out} cannot be written: {error}") from error


def _unlike(path: Path, wanted: Mapping[str, Any]) -> list[str]:
    """What a settings file says that is not wanted; nothing where there is no file."""
    if not path.exists():
        return []
    try:
        stored = {"edition": FIRST_EDITION, "degree": CLEAN} | json.loads(
            path.read_text(encoding="utf-8")
        )
    except (ValueError, TypeError):
        return ["it cannot be read"]
    return [
        f"{name}: {stored.get(name)!r} there, {wanted.get(name)!r} now"
        for name in stored | wanted
        if stored.get(name) != wanted.get(name)
    ]


def _streams(settings: Settings) -> Iterable[int]:
    return tqdm(range(settings.num_streams), desc=f"nanostream {settings.split}", unit="stream")


def write_split(out: Path, settings: Settings) -> dict[str, Path]:
    """Write videos and both annotation files; videos already there are kept.

    Returns the annotation files by kind. Video paths in them are relative to the working
    directory if `out` is, as given.

    Raises:
        NanoStreamError: `out` cannot be written or holds a split with other settings.
    """
    _claim(out, settings)
    entries: dict[str, list[dict]] = {CHOICE: [], WORDS: []}
    for number in _streams(settings):
        world = make_stream(settings, number)
        name = f"{settings.split}_{number:04d}"
        path = out / settings.split / f"{name}.{settings.video_format}"
        if not path.exists():
            _write_video(world, path, settings)
        annotated = annotate(
            world, name, path.as_posix(), settings.questions_per_task, settings.edition
        )
        for kind, entry in annotated.items():
            entries[kind].append(entry)
    files = {kind: out / f"{kind}_{settings.split}.json" for kind in entries}
    for kind, file in files.items():
        write_text(file, json.dumps(entries[kind], indent=1) + "\n")
        logger.info("wrote %s", file)
    return files
