"""VideoMME, without subtitles: parquet of the hub, or the same table as CSV or JSON lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from video_qa.json_input.checks import Checked, Text, check
from video_qa.preparation.data_set import Annotation, Counts, DataSet, Entry, Findings
from video_qa.preparation.official_files import find_file, read_records
from video_qa.preparation.official_values import (
    below,
    chosen,
    listed,
    video_member,
    without_letters,
)

ANNOTATION = "videomme/videomme.json"
KNOWN = Counts(900, 2700)
DURATIONS = ("short", "medium", "long")


class OfficialRow(Checked):
    """A row of the table; `videoID` is the video's name at its source."""

    videoID: Text
    duration: Text
    task_type: Text
    question: Text
    options: list[str]
    answer: Text


def convert(source: Path, videos: Path, findings: Findings) -> Sequence[Annotation]:
    """Three questions per video, in the order of the table."""
    path = find_file(source, ("test-*.parquet", "test-*.jsonl", "test-*.csv"))
    entries: dict[str, Entry] = {}
    for index, record in enumerate(read_records(path)):
        for row in findings.convert(record, f"{path.name}, row {index}", _row):
            entry = entries.setdefault(row["video_path"], row | {"conversations": []})
            entry["conversations"] += row["conversations"]
    return [Annotation(ANNOTATION, list(entries.values()), KNOWN)]


def _row(record: Any, where: str) -> Entry:
    """One question as an entry of its own."""
    if isinstance(record, dict) and isinstance(record.get("options"), str):
        record = record | {"options": listed(record["options"], where)}
    official = check(OfficialRow, record, where)
    if official.duration not in DURATIONS:
        raise ValueError(f"{where}: duration {official.duration!r}, expected {DURATIONS}")
    choices = without_letters(official.options, where)
    question = {
        "question": official.question,
        "choices": choices,
        "answer": chosen(official.answer, choices, where),
        "question_type": official.task_type,
    }
    return {
        "video_id": official.videoID,
        "video_path": below(f"{official.videoID}.mp4", where),
        "duration_category": official.duration,
        "conversations": [question],
    }


def place(member: str) -> str | None:
    """`data/fFjv93ACGo8.mp4` becomes `fFjv93ACGo8.mp4`."""
    path = video_member(member, ".mp4")
    return f"{path.stem}.mp4" if path else None


VIDEOMME = DataSet(
    convert,
    {ANNOTATION: KNOWN},
    source="hub lmms-lab/Video-MME",
    archives=("videos_chunked_*.zip",),
    place=place,
)
