"""The forward track of OVO-Bench: counting repetitions (REC), steps (SSR), clues (CRR).

A model is asked again and again while the video goes on, and has to see when the answer changes.
The official questions are templates in `constant.py` of the benchmark's repository. Where that file
is among the official files its templates are taken as they stand; else ours, which ask the same in
other words, are used, and the preparation says so: numbers of the two are not comparable.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from video_qa.json_input.checks import Checked, Number, Text, check
from video_qa.preparation.data_set import Entry, Findings
from video_qa.preparation.official_files import find_files
from video_qa.preparation.official_values import below

OUR_WORDING = {
    "REC": "People in this video may repeat an action, and each complete repetition counts as one, "
    "whoever makes it. {} Count up to now. Reply with one number in digits and nothing else.",
    "SSR": "This video shows a procedure step by step. One of its steps is: {}. Is this step being "
    'carried out right now? Reply with "Yes" or "No" and nothing else.',
    "CRR": "Here is a question about this video, as of its latest frames: {} Has enough been shown "
    'so far, its end above all, to answer it? Reply with "Yes" or "No" and nothing else.',
}
"""Task -> question; {} takes what the record asks."""
FORWARD = tuple(OUR_WORDING)
ANSWERS = {0: "No", 1: "Yes"}


class OfficialTest(Checked):
    """One of the moments at which a record asks."""

    realtime: Number
    count: int | None = None
    type: int | None = None
    step: Text | None = None


class OfficialForward(Checked):
    """A record of the forward track."""

    id: int
    task: Text
    video: Text
    test_info: list[OfficialTest]
    activity: Text | None = None
    question: Text | None = None


def wording(source: Path, findings: Findings) -> Mapping[str, str]:
    """Task -> template: the official ones if their file is there, else ours."""
    for path in find_files(source, "constant.py"):
        official = _templates(path)
        if set(official) >= set(FORWARD):
            findings.notes.append(f"forward track asked with the official templates of {path}")
            return official
    findings.notes.append(
        "forward track asked in our own words: put constant.py of the benchmark's repository "
        "beside its annotation to ask with the official templates"
    )
    return OUR_WORDING


def _templates(path: Path) -> dict[str, str]:
    """The string constants `REC_PROMPT_TEMPLATE` and so on of a file, which is not run."""
    try:
        nodes = ast.parse(path.read_text(encoding="utf-8")).body
    except (OSError, SyntaxError, ValueError):
        return {}
    found: dict[str, str] = {}
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            for target in node.targets:
                name = getattr(target, "id", "").removesuffix("_PROMPT_TEMPLATE")
                if name in FORWARD and isinstance(node.value.value, str):
                    found[name] = node.value.value.strip()
    return found


def forward_entry(record: Any, where: str, prompts: Mapping[str, str]) -> Entry:
    """One entry: a video and its tests in order of time (34 of 42 SSR records are not so)."""
    official = check(OfficialForward, record, where)
    where = f"{where} (id {official.id})"
    tests = [
        _question(official, test, index, where, prompts)
        for index, test in enumerate(official.test_info)
    ]
    return {
        "video_id": official.id,
        "video_path": below(official.video, where),
        "task": official.task,
        "conversations": sorted(tests, key=lambda test: test["end_time"]),
    }


def _question(
    official: OfficialForward,
    test: OfficialTest,
    index: int,
    where: str,
    prompts: Mapping[str, str],
) -> dict[str, Any]:
    where = f"{where}, test_info[{index}]"
    return {
        "question": prompts[official.task].replace("{}", _asked(official, test, where), 1),
        "answer": _answer(official, test, where),
        "end_time": test.realtime,
        "test_index": index,
    }


def _asked(official: OfficialForward, test: OfficialTest, where: str) -> str:
    asked = {
        "REC": official.activity and f"How many times did they {official.activity}?",
        "SSR": test.step,
        "CRR": official.question,
    }[official.task]
    if not asked:
        missing = {"REC": "activity", "SSR": "step", "CRR": "question"}[official.task]
        raise ValueError(f"{where}: a {official.task} test needs '{missing}'")
    return asked


def _answer(official: OfficialForward, test: OfficialTest, where: str) -> str:
    if official.task == "REC":
        if test.count is None:
            raise ValueError(f"{where}: a REC test needs 'count'")
        return str(test.count)
    if test.type not in ANSWERS:
        raise ValueError(f"{where}: 'type' must be 0 or 1, got {test.type!r}")
    return ANSWERS[test.type]
