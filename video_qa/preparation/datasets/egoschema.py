"""EgoSchema: all questions, for the submission, and the 500 whose answers are public.

`questions.json` and `subset_answers.json` (0 to 4) of the repository, or the hub's table
`video_idx, question, option, answer`. The repository says 5,031 questions, the paper 5,063, so the
number of the whole set is not compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from video_qa.json_input.checks import Checked, Text, check
from video_qa.preparation.data_set import Annotation, Counts, DataSet, Entry, Findings
from video_qa.preparation.official_files import (
    find_file,
    find_files,
    read_object,
    read_records,
)
from video_qa.preparation.official_values import (
    below,
    listed,
    numbered,
    video_member,
    without_letters,
)

ANNOTATION = "egoschema/egoschema.json"
SUBSET = "egoschema/egoschema_subset.json"
KNOWN: dict[str, Counts | None] = {ANNOTATION: None, SUBSET: Counts(500, 500)}
NUM_OPTIONS = 5


class OfficialQuestion(Checked):
    """An object of `questions.json`, whose options are `option 0` to `option 4`."""

    q_uid: Text
    question: Text


class OfficialRow(Checked):
    """A row of the hub's table."""

    video_idx: Text
    question: Text
    option: list[str]
    answer: str | int | None = None


def convert(source: Path, videos: Path, findings: Findings) -> Sequence[Annotation]:
    """One entry per question; null stands for an answer that is not public."""
    path = find_file(source, ("questions.json", "test-*.parquet", "*.parquet", "test-*.jsonl"))
    answers = _answers(source, path, findings)
    read = _json if path.name == "questions.json" else _row
    entries: list[Entry] = []
    for index, record in enumerate(read_records(path)):
        where = f"{path.name}, record {index}"
        entries += findings.convert(record, where, lambda r, w: read(r, w, answers))
    public = [e for e in entries if e["conversations"][0]["answer"] is not None]
    findings.notes.append(f"{len(public)} of {len(entries)} answers are public")
    found = [Annotation(ANNOTATION, entries, None)]
    return [*found, Annotation(SUBSET, public, KNOWN[SUBSET])] if public else found


def _answers(source: Path, path: Path, findings: Findings) -> Mapping[str, int]:
    found = find_files(source, "subset_answers.json")
    if not found:
        return {}
    answers = read_object(found[0])
    bad = [name for name, value in answers.items() if type(value) is not int]
    findings.malformed += [f"{found[0].name}: the answer of {name} is no number" for name in bad]
    return {name: value for name, value in answers.items() if name not in bad}


def _json(record: Any, where: str, answers: Mapping[str, int]) -> Entry:
    official = check(OfficialQuestion, record, where)
    options = [record.get(f"option {number}") for number in range(NUM_OPTIONS)]
    if not all(isinstance(option, str) for option in options):
        raise ValueError(f"{where} ({official.q_uid}): expected texts 'option 0' to 'option 4'")
    return _entry(official.q_uid, official.question, options, answers.get(official.q_uid), where)


def _row(record: Any, where: str, answers: Mapping[str, int]) -> Entry:
    if isinstance(record, dict) and isinstance(record.get("option"), str):
        record = record | {"option": listed(record["option"], where)}
    official = check(OfficialRow, record, where)
    answer = answers.get(official.video_idx)
    if answer is None and str(official.answer or "").isdigit():
        answer = int(str(official.answer))
    elif answer is None and isinstance(official.answer, int):
        answer = official.answer
    options = without_letters(official.option, where)
    return _entry(official.video_idx, official.question, options, answer, where)


def _entry(name: str, question: str, options: Any, answer: int | None, where: str) -> Entry:
    asked = {
        "question": question,
        "choices": options,
        "answer": None if answer is None else numbered(answer, options, where),
    }
    return {
        "video_id": name,
        "video_path": below(f"{name}.mp4", where),
        "conversations": [asked],
    }


def place(member: str) -> str | None:
    """Videos lie side by side."""
    path = video_member(member, ".mp4")
    return path.name if path else None


EGOSCHEMA = DataSet(
    convert,
    KNOWN,
    source="Kaggle egoschema-public, or hub lmms-lab/egoschema",
    archives=("*.zip",),
    place=place,
)
