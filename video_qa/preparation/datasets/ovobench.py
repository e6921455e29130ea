"""OVO-Bench: backward and real-time tracks as the authors of HERMES have them, and the forward one.

`ovo_bench_new.json` times its questions in the whole videos (`src_videos.tar.part*`); the pre-cut
`chunked_videos` begin anew and are not used. The right answer is `options[gt]`; the field `answer`
differs from it in 420 records.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from video_qa.json_input.checks import Checked, Number, Text, check
from video_qa.preparation.data_set import Annotation, Counts, DataSet, Entry, Findings
from video_qa.preparation.datasets.ovo_forward import FORWARD, forward_entry, wording
from video_qa.preparation.official_files import find_file, read_records
from video_qa.preparation.official_values import below, numbered

ANNOTATION = "ovobench/ovobench_realtime_backeward.json"
FORWARD_ANNOTATION = "ovobench/ovobench_forward.json"
KNOWN = {ANNOTATION: Counts(1468, 1468), FORWARD_ANNOTATION: Counts(172, 1567)}
VIDEO = re.compile(r"(?:.*/)?src_videos/(.+\.(?:mp4|mkv|webm|avi|mov))", re.IGNORECASE)


class OfficialRecord(Checked):
    """A record of the backward and real-time tracks."""

    id: int
    task: Text
    video: Text
    question: Text
    options: list[str]
    gt: int
    realtime: Number
    answer: str | None = None


def convert(source: Path, videos: Path, findings: Findings) -> Sequence[Annotation]:
    """One entry per record; a forward record holds all its tests, in order of time."""
    path = find_file(source, ("ovo_bench_new.json", "ovo_bench_new*.json"))
    prompts = wording(source, findings)
    tracks: dict[str, list[Entry]] = {ANNOTATION: [], FORWARD_ANNOTATION: []}
    num_unlike = 0
    for index, record in enumerate(read_records(path)):
        where = f"{path.name}, record {index}"
        if isinstance(record, dict) and record.get("task") in FORWARD:
            tracks[FORWARD_ANNOTATION] += findings.convert(
                record, where, lambda r, w: forward_entry(r, w, prompts)
            )
            continue
        for entry, is_unlike in findings.convert(record, where, _entry):
            tracks[ANNOTATION].append(entry)
            num_unlike += is_unlike
    findings.notes.append(
        f"options[gt] is the right answer; the field 'answer' differs in {num_unlike} records"
    )
    return [Annotation(name, entries, KNOWN[name]) for name, entries in tracks.items()]


def _entry(record: Any, where: str) -> tuple[Entry, bool]:
    official = check(OfficialRecord, record, where)
    answer = numbered(official.gt, official.options, where)
    question = {
        "question": official.question,
        "answer": answer,
        "choices": official.options,
        "end_time": official.realtime,
    }
    entry: Entry = {
        "video_id": official.id,
        "video_path": below(official.video, where),
        "task": official.task,
        "conversations": [question],
    }
    return entry, official.answer != answer


def place(member: str) -> str | None:
    """`src_videos/Ego4D/clips/x.mp4` becomes `Ego4D/clips/x.mp4`."""
    match = VIDEO.fullmatch(member)
    return match[1] if match else None


OVOBENCH = DataSet(
    convert,
    KNOWN,
    source="hub JoeLeelyf/OVO-Bench and github.com/JoeLeelyf/OVO-Bench",
    archives=("src_videos.tar.part*",),
    parts=5,
    place=place,
    advice={"": "part of src_videos.tar.parta[a-e]"},
)
