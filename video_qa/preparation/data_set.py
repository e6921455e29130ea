"""What is known of a data set's official distribution, and what its converter hands back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Entry = dict[str, Any]
"""One video in the annotation schema; ``video_path`` is still relative to the videos' folder."""


class PreparationError(ValueError):
    """The data set cannot be prepared; the message says what was found and what to do."""


@dataclass(frozen=True)
class Counts:
    """Entries of an annotation file, and their questions."""

    entries: int
    questions: int

    def __str__(self) -> str:
        return f"{self.entries:,} entries / {self.questions:,} questions"


@dataclass(frozen=True)
class Annotation:
    """One annotation file: its path below the data folder, its entries, and the known counts.

    ``known`` is None where the official files come in sizes that nobody has confirmed.
    """

    path: str
    entries: Sequence[Entry]
    known: Counts | None

    @property
    def counts(self) -> Counts:
        """What the entries amount to."""
        return Counts(len(self.entries), sum(len(e["conversations"]) for e in self.entries))


@dataclass
class Findings:
    """What has to be said of the official files.

    ``notes`` are corrections and choices that were made; ``malformed`` are records without a place
    in the annotation.
    """

    notes: list[str] = field(default_factory=list)
    malformed: list[str] = field(default_factory=list)

    def convert(self, record: Any, where: str, function: Callable[[Any, str], Any]) -> list[Any]:
        """``function(record, where)`` in a list; empty, and noted as malformed, on ValueError."""
        try:
            return [function(record, where)]
        except ValueError as error:
            self.malformed.append(str(error))
            return []


Converter = Callable[[Path, Path, Findings], Sequence[Annotation]]
"""(folder of the official files, videos' folder, findings) -> annotations."""


@dataclass(frozen=True)
class DataSet:
    """The official distribution of one data set.

    Attributes:
        convert: reads the official annotation.
        annotations: what it writes, below the data folder; the known counts by file.
        archives: patterns of the archives' file names; of a split tar, of its parts.
        parts: how many parts the split tar has; None: not known.
        place: archive member -> path below the videos' folder; None: not needed.
        advice: beginning of a video path -> how to get the videos that no archive holds.
        source: where the official files are.
    """

    convert: Converter
    annotations: Mapping[str, Counts | None]
    source: str
    archives: tuple[str, ...] = ()
    parts: int | None = None
    place: Callable[[str], str | None] = lambda member: None
    advice: Mapping[str, str] = field(default_factory=dict)
    shares_videos: bool = False
    """Its videos are those of other data sets; paths then count from the data folder."""

    @property
    def videos(self) -> str:
        """The videos' folder below the data folder."""
        return "" if self.shares_videos else f"{self.folder}/videos"

    @property
    def folder(self) -> str:
        """The data set's folder below the data folder."""
        return str(Path(next(iter(self.annotations))).parent)
