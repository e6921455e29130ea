"""The steps from official files to annotations and videos, and what is said on the way."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from eval.whole_file import write_text
from video_qa.preparation.check import check_videos, count_lines, counts_of
from video_qa.preparation.compare import differences
from video_qa.preparation.data_set import (
    Annotation,
    Counts,
    DataSet,
    Entry,
    Findings,
    PreparationError,
)
from video_qa.preparation.unpack import unpack
from video_qa.questions.annotation_file import load_annotations
from video_qa.questions.annotation_schema import read_entry
from video_qa.questions.annotations import Video

REPORT = "preparation.txt"
SHOWN_LINES = 20


@dataclass
class Report:
    """What the command says: everything in a file, the beginning of long lists on the terminal."""

    lines: list[str] = field(default_factory=list)
    is_fine: bool = True

    def say(self, lines: Sequence[str], is_fine: bool = True) -> None:
        """Print and keep; ``is_fine`` False makes the exit code 1."""
        self.lines += lines
        self.is_fine &= is_fine
        for line in lines[:SHOWN_LINES]:
            print(line, flush=True)
        if len(lines) > SHOWN_LINES:
            print(f"  ... and {len(lines) - SHOWN_LINES:,} more lines in {REPORT}", flush=True)


@dataclass(frozen=True)
class Places:
    """Where things lie: the data folder, the videos' folder, what is named by the user."""

    data_root: Path
    data_set: DataSet
    given_videos: Path | None = None

    @property
    def videos(self) -> Path:
        return self.given_videos or self.data_root / self.data_set.videos

    @property
    def folder(self) -> Path:
        return self.data_root / self.data_set.folder


def prepare(places: Places, source: Path, report: Report, skip_malformed: bool) -> None:
    """Unpack, convert, write the annotations.

    Raises:
        PreparationError: nothing was written: wrong folder, damaged archive, malformed records.
    """
    if not source.is_dir():
        raise PreparationError(f"--source {source} is not a folder")
    _convert(places, source, skip_malformed)  # before hours of unpacking
    if places.given_videos is None:
        done = unpack(places.data_set, source, places.videos)
        report.say(
            [
                f"{done.num_archives} archive(s): {done.num_written:,} videos unpacked to "
                f"{places.videos}, {done.num_there:,} were there, {done.num_left_out:,} other "
                "members left out"
            ]
        )
    annotations, findings = _convert(places, source, skip_malformed)
    report.say([f"note: {note}" for note in findings.notes])
    if findings.malformed:
        report.say([f"LEFT OUT: {line}" for line in findings.malformed], is_fine=False)
    for annotation in annotations:
        path = places.data_root / annotation.path
        write_text(path, json.dumps(annotation.entries, indent=1, ensure_ascii=False) + "\n")
        lines, is_known = count_lines(str(path), annotation.counts, annotation.known)
        report.say(lines, is_known)


def _convert(
    places: Places, source: Path, skip_malformed: bool
) -> tuple[Sequence[Annotation], Findings]:
    findings = Findings()
    converted = places.data_set.convert(source, places.videos, findings)
    annotations = [replace(a, entries=_valid(a, places, findings)) for a in converted]
    if findings.malformed and not skip_malformed:
        listed = "\n  ".join(findings.malformed)
        raise PreparationError(
            f"{len(findings.malformed)} malformed record(s), nothing was written:\n  {listed}\n"
            "Correct them in the official file, or leave them out with --skip_malformed"
        )
    return annotations, findings


def _valid(annotation: Annotation, places: Places, findings: Findings) -> list[Entry]:
    """The entries that the loader will take, with the whole path of their video."""
    kept: list[Entry] = []
    for index, entry in enumerate(annotation.entries):
        placed = entry | {"video_path": (places.videos / entry["video_path"]).as_posix()}
        try:
            read_entry(placed, index, annotation.path, None)
            kept.append(placed)
        except ValueError as error:
            findings.malformed.append(str(error))
    return kept


def check(places: Places, report: Report, known_only: bool) -> None:
    """Look at the annotations that are there, and at every video they name.

    Args:
        known_only: compare counts too (after `prepare` that has been said already).

    Raises:
        PreparationError: there is none.
        AnnotationError: it cannot be read.
    """
    paths = {name: places.data_root / name for name in places.data_set.annotations}
    if not any(path.exists() for path in paths.values()):
        raise PreparationError(f"no {' or '.join(map(str, paths.values()))}; give --source FOLDER")
    for name, known in places.data_set.annotations.items():
        path = paths[name]
        if not path.exists():
            report.say([f"!!! no {path}"], is_fine=False)
            continue
        videos = load_annotations(path)
        if known_only:
            report.say(*_count(path, videos, known))
        found = check_videos(videos, places.given_videos, places.data_set.advice)
        report.say([f"{path}: {found.num_videos:,} videos looked at"])
        for section in found.sections():
            report.say(section, is_fine=len(section) == 1)


def _count(path: Path, videos: Sequence[Video], known: Counts | None) -> tuple[list[str], bool]:
    return count_lines(str(path), counts_of(videos), known)


def compare(places: Places, other: Path, report: Report) -> None:
    """Say what differs from another annotation file of the same data set.

    Raises:
        AnnotationError: one of them cannot be read.
    """
    names = list(places.data_set.annotations)
    name = next((n for n in names if Path(n).name == other.name), names[0])
    ours, theirs = load_annotations(places.data_root / name), load_annotations(other)
    lines = differences(ours, theirs)
    head = f"{places.data_root / name} and {other}: "
    if not lines:
        report.say([f"{head}no difference"])
    else:
        report.say([f"{head}{len(lines):,} difference(s)", *lines], is_fine=False)
