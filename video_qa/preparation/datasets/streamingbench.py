"""StreamingBench, real-time visual understanding.

Annotation: `src/data/questions_real_stream.json` of the repository, which the authors of HERMES
followed (498 videos, 2,495 questions), else `questions_real.json` (499, 2,500: it still has
`sample_332`), else the CSV of the hub. Upstream has no `sample_316`. Two of its time stamps are
malformed. Not confirmed: how the hub's CSV names the video; `sample_N` is looked for in
`question_id`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from video_qa.json_input.checks import Checked, Text, check
from video_qa.preparation.data_set import Annotation, Counts, DataSet, Entry, Findings
from video_qa.preparation.official_files import find_file, read_records
from video_qa.preparation.official_values import (
    below,
    chosen,
    listed,
    stamp_seconds,
    video_member,
    without_letters,
)

ANNOTATION = "streamingbench/streamingbench_realtime.json"
KNOWN = {
    "questions_real_stream.json": Counts(498, 2495),
    "questions_real.json": Counts(499, 2500),
}
CORRECTED_SECONDS = {("sample_132", "00:12450"): 765.0}
"""(video, stamp as it stands) -> seconds, as the authors of HERMES read it: 00:12:45."""
SAMPLE = re.compile(r"sample_(\d+)")
ABSENT = "upstream has no sample_316; questions_real_stream.json lacks sample_332"


class OfficialQuestion(Checked):
    """A question of the JSON files."""

    task_type: Text
    question: Text
    time_stamp: Text
    answer: Text
    options: list[str]
    required_ability: str = ""


class OfficialVideo(Checked):
    """An object of their list; `questions_real.json` has several for one video."""

    video_path: Text
    questions: list[OfficialQuestion]


class OfficialRow(Checked):
    """A row of the hub's CSV."""

    question_id: Text
    task_type: Text
    question: Text
    time_stamp: Text
    answer: Text
    options: Text


def convert(source: Path, videos: Path, findings: Findings) -> Sequence[Annotation]:
    """Group the questions by video, in order of their time."""
    path = find_file(source, (*KNOWN, "*Real*Time*.csv", "*real*.csv"))
    read = _csv_row if path.suffix == ".csv" else _json_video
    by_video: dict[str, list[dict[str, Any]]] = {}
    for index, record in enumerate(read_records(path)):
        for name, question in read(record, f"{path.name}, record {index}", findings):
            by_video.setdefault(name, []).append(question)
    entries = [_entry(i, name, own) for i, (name, own) in enumerate(by_video.items(), start=1)]
    findings.notes.append(f"{path.name}: {ABSENT}")
    return [Annotation(ANNOTATION, entries, KNOWN.get(path.name))]


def _entry(number: int, name: str, questions: list[dict[str, Any]]) -> Entry:
    in_time = sorted(questions, key=lambda question: question["end_time"])
    return {"video_id": number, "video_path": name, "conversations": in_time}


Found = Iterable[tuple[str, dict[str, Any]]]


def _json_video(record: Any, where: str, findings: Findings) -> Found:
    for video in findings.convert(record, where, lambda r, w: check(OfficialVideo, r, w)):
        for name in findings.convert(video.video_path, where, below):
            name = name.removeprefix("videos/")
            read = partial(_question, name=name, findings=findings)
            for i, official in enumerate(video.questions):
                own = findings.convert(official, f"{where} ({name}), questions[{i}]", read)
                yield from ((name, question) for question in own)


def _csv_row(record: Any, where: str, findings: Findings) -> Found:
    def read(row: Any, where: str) -> tuple[str, dict[str, Any]]:
        found = check(OfficialRow, row, where)
        sample = SAMPLE.search(found.question_id)
        if sample is None:
            raise ValueError(f"{where}: no sample_N in question_id {found.question_id!r}")
        name = f"{sample[0]}_real.mp4"
        values = dict(found) | {"options": listed(found.options, where)}
        return name, _question(check(OfficialQuestion, values, where), where, name, findings)

    return findings.convert(record, where, read)


def _question(
    official: OfficialQuestion, where: str, name: str, findings: Findings
) -> dict[str, Any]:
    choices = without_letters(official.options, where)
    end_time = _seconds(official.time_stamp, name, where, findings)
    return {
        "question": official.question,
        "answer": chosen(official.answer, choices, where),
        "choices": choices,
        "end_time": end_time,
        "task": official.task_type,
        "time_stamp": official.time_stamp,
        "required_ability": official.required_ability,
    }


def _seconds(stamp: str, name: str, where: str, findings: Findings) -> float:
    sample = SAMPLE.match(name)
    corrected = CORRECTED_SECONDS.get((sample[0] if sample else "", stamp))
    if corrected is not None:
        _note_once(findings, f"{name}: malformed time stamp {stamp} read as {corrected:g} s")
        return corrected
    seconds = stamp_seconds(stamp, where)
    if stamp.count(":") == 1:
        _note_once(findings, f"{name}: time stamp {stamp} has no hours, read as {seconds:g} s")
    return seconds


def _note_once(findings: Findings, note: str) -> None:
    if note not in findings.notes:
        findings.notes.append(note)


def place(member: str) -> str | None:
    """`.../sample_N/video.mp4` becomes `sample_N_real.mp4`."""
    path = video_member(member, ".mp4")
    is_ours = path is not None and SAMPLE.fullmatch(path.parent.name)
    return f"{path.parent.name}_real.mp4" if path and is_ours else None


STREAMINGBENCH = DataSet(
    convert,
    {ANNOTATION: KNOWN["questions_real_stream.json"]},
    source="hub mjuicem/StreamingBench and github.com/THUNLP-MT/StreamingBench",
    archives=("Real*Time Visual Understanding*.zip",),
    place=place,
)
