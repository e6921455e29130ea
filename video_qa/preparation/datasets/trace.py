"""Open Stream Bench (TRACE), release 1.1.0: its 833 questions; the proactive part is not converted.

`qa.jsonl` draws on StreamingBench and OVO-Bench with corrected time stamps and brings no videos:
those of the two are used, wherever `prepare_data.py ovobench` put them, or below ``--videos`` in
the benchmark's own layout (`src_videos/`, `videos/`). Not confirmed: in which archives of
StreamingBench's hub the categories beside the real-time one lie; every zip is looked into.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from video_qa.json_input.checks import Checked, Number, Text, check
from video_qa.preparation.data_set import Annotation, Counts, DataSet, Entry, Findings
from video_qa.preparation.datasets.streamingbench import SAMPLE
from video_qa.preparation.official_files import find_file, read_records
from video_qa.preparation.official_values import below, chosen, video_member, without_letters

ANNOTATION = "trace/trace_qa.json"
KNOWN = Counts(833, 833)
SHARED = {"src_videos/": "ovobench/videos/", "videos/": "streamingbench/videos/"}
"""Folder in the benchmark's layout -> where this project keeps the same videos."""
NUMBERS = re.compile(r"_\d+-\d+$")


class OfficialRecord(Checked):
    """A line of `qa.jsonl`."""

    record_id: Text
    question: Text
    options: list[str]
    answer: Text
    question_time_s: Number
    task_type: Text
    video_path: Text


def convert(source: Path, videos: Path, findings: Findings) -> Sequence[Annotation]:
    """One entry per question, as each is asked of a fresh stream."""
    path = find_file(source, ("qa.jsonl",))
    entries = [
        entry
        for index, record in enumerate(read_records(path))
        for entry in findings.convert(
            record, f"{path.name}, line {index + 1}", lambda r, w: _entry(r, w, videos)
        )
    ]
    findings.notes.append("proactive.jsonl, which is no question answering, is not converted")
    return [Annotation(ANNOTATION, entries, KNOWN)]


def _entry(record: Any, where: str, videos: Path) -> Entry:
    official = check(OfficialRecord, record, where)
    choices = without_letters(official.options, where)
    question = {
        "question": official.question,
        "answer": chosen(official.answer, choices, where),
        "choices": choices,
        "end_time": official.question_time_s,
    }
    return {
        "video_id": official.record_id,
        "video_path": _video(below(official.video_path, where), videos),
        "task": official.task_type,
        "conversations": [question],
    }


def _video(path: str, videos: Path) -> str:
    if (videos / path).exists():
        return path
    for theirs, ours in SHARED.items():
        if path.startswith(theirs):
            return ours + path.removeprefix(theirs)
    return path


def place(member: str) -> str | None:
    """`Anomaly Context Understanding_1-25/sample_3/video.mp4`: the category is in the name."""
    path = video_member(member, ".mp4")
    if path is None or not SAMPLE.fullmatch(path.parent.name):
        return None
    category = NUMBERS.sub("", path.parent.parent.name).replace(" ", "_")
    if category == "Real-Time_Visual_Understanding":
        category = "real"
    return f"{SHARED['videos/']}{path.parent.name}_{category}.mp4"


TRACE = DataSet(
    convert,
    {ANNOTATION: KNOWN},
    source="hub omlab/trace-bench or github.com/om-ai-lab/trace-bench, data/releases/v1.1.0",
    archives=("*.zip",),
    place=place,
    advice={
        "ovobench/": "prepare ovobench first",
        "streamingbench/": "from the archives of hub mjuicem/StreamingBench",
    },
    shares_videos=True,
)
