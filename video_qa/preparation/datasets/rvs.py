"""RVS-Ego and RVS-Movie, in the processing that the authors of HERMES follow (`Becomebright/RVS`).

Expected: `ego/ego4d_oe.json` and `movie/movienet_oe.json`, already in this project's schema, with
videos as .mp4 and as .npy frame arrays. Not confirmed: whether the hub packs the videos; zip
archives are unpacked if there are any. The original, `IVGSZ/VStream-QA` (CC BY-NC 4.0), cuts its
videos differently (99 and 1,000 of them) and is refused with a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ConfigDict

from video_qa.json_input.checks import Checked, Identifier, Number, Text, check
from video_qa.preparation.data_set import (
    Annotation,
    Converter,
    Counts,
    DataSet,
    Entry,
    Findings,
    PreparationError,
)
from video_qa.preparation.official_files import find_file, find_files, read_records
from video_qa.preparation.official_values import video_member

ORIGINAL = ("rvs_ego.json", "rvs_movie.json", "test_qa_*.json")


class OfficialQuestion(Checked):
    """A question; what else it holds is kept."""

    model_config = ConfigDict(extra="allow")

    question: Text
    answer: Text
    end_time: Number


class OfficialVideo(Checked):
    """An entry; what else it holds is kept."""

    model_config = ConfigDict(extra="allow")

    video_id: Identifier
    video_path: Text
    conversations: list[OfficialQuestion]


def _converter(file: str, known: Counts) -> Converter:
    def convert(source: Path, videos: Path, findings: Findings) -> Sequence[Annotation]:
        """The entries as they are, with the path of the video below its folder."""
        path = _find(source, Path(file).name)
        entries = [
            entry
            for index, record in enumerate(read_records(path))
            for entry in findings.convert(record, f"{path.name}, record {index}", _entry)
        ]
        return [Annotation(file, entries, known)]

    return convert


def _find(source: Path, name: str) -> Path:
    original = [path.name for pattern in ORIGINAL for path in find_files(source, pattern)]
    if original and not find_files(source, name):
        raise PreparationError(
            f"{source} holds {original[0]}, the original VStream-QA, whose clips are cut "
            "differently; this project needs the hub's Becomebright/RVS (see data/README.md)"
        )
    return find_file(source, (name,))


def _entry(record: Any, where: str) -> Entry:
    check(OfficialVideo, record, where)
    return dict(record) | {"video_path": Path(record["video_path"]).name}


def place(member: str) -> str | None:
    """Videos lie side by side."""
    path = video_member(member, ".mp4", ".npy")
    return path.name if path else None


def _data_set(file: str, known: Counts, archives: tuple[str, ...]) -> DataSet:
    return DataSet(
        _converter(file, known),
        {file: known},
        source="hub Becomebright/RVS",
        archives=archives,
        place=place,
    )


RVS_EGO = _data_set("rvs/ego/ego4d_oe.json", Counts(10, 1465), ("*ego*.zip",))
RVS_MOVIE = _data_set("rvs/movie/movienet_oe.json", Counts(22, 1905), ("*movie*.zip",))
