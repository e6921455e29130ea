"""Values as official files write them: lettered options, letters, time stamps, relative paths."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from inference.answers.multiple_choice import LETTERS

LETTERED = re.compile(r"\(?([A-Z])[.):]\s*")
STAMP = re.compile(r"(?:(\d{1,2}):)?(\d{1,2}):(\d{1,2})(\.\d+)?")


def without_letters(options: Sequence[str], where: str) -> list[str]:
    """Options without "A. ", "B. ", ... before them.

    Either all of them carry their letter or none does, so that an option that happens to begin
    like one ("A. Lincoln") stays whole.

    Raises:
        ValueError: some do and some do not.
    """
    found = [LETTERED.match(option) for option in options]
    right = [m is not None and m[1] == LETTERS[i] for i, m in enumerate(found) if i < len(LETTERS)]
    if not all(right):
        if sum(right) > 1:
            raise ValueError(f"{where}: some options carry their letter, some do not: {options}")
        return list(options)
    return [option[m.end() :] if m else option for option, m in zip(options, found, strict=True)]


def chosen(letter: str, options: Sequence[str], where: str) -> str:
    """The option that a letter names. Raises ValueError if it names none."""
    letter = letter.strip().strip("().")
    if len(letter) != 1 or letter not in LETTERS[: len(options)]:
        raise ValueError(f"{where}: answer {letter!r} is no letter of its {len(options)} options")
    return options[LETTERS.index(letter)]


def numbered(number: int, options: Sequence[str], where: str) -> str:
    """The option of a number from 0 on. Raises ValueError if there is none."""
    if not 0 <= number < len(options):
        raise ValueError(f"{where}: answer {number} is no number of its {len(options)} options")
    return options[number]


def stamp_seconds(stamp: str, where: str) -> float:
    """Seconds of a time stamp, ``HH:MM:SS`` or ``MM:SS``. Raises ValueError on any other."""
    match = STAMP.fullmatch(stamp.strip())
    if match is None or int(match[2]) > 59 or int(match[3]) > 59:
        raise ValueError(f"{where}: time stamp {stamp!r} is not HH:MM:SS")
    hours, minutes, seconds = (int(match[i] or 0) for i in (1, 2, 3))
    return float(3600 * hours + 60 * minutes + seconds) + float(match[4] or 0)


def below(path: str, where: str) -> str:
    """A video path that stays below its folder, with single slashes. Raises ValueError."""
    text = path.replace("\\", "/").strip()
    parts = PurePosixPath(text).parts
    if not parts or text.startswith("/") or ".." in parts or ":" in parts[0]:
        raise ValueError(f"{where}: video path {path!r} points outside the videos' folder")
    return PurePosixPath(text).as_posix()


def video_member(member: str, *suffixes: str) -> PurePosixPath | None:
    """An archive's member as a path if it is a video; None for other files and macOS's shadows."""
    path = PurePosixPath(member)
    is_video = path.suffix.lower() in suffixes and "__MACOSX" not in path.parts
    return path if is_video else None


def listed(text: str, where: str) -> list[str]:
    """A list that a CSV cell holds, as JSON or as Python writes it. Raises ValueError."""
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return value
    raise ValueError(f"{where}: expected a list of texts, got {text[:80]!r}")
