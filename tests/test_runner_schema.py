"""Annotation files: what loads, and what every complaint names."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runner_helpers import choice, write_annotations

from inference.answers.multiple_choice import LETTERS, extract_characters_regex, format_mcqa_prompt
from video_qa.questions.annotation_file import AnnotationError, load_annotations
from video_qa.questions.annotations import MULTIPLE_CHOICE, OPEN_ENDED

ENTRY = {"video_id": "v7", "video_path": "/data/v7.mp4", "conversations": [choice("what?", 3)]}


def entry(**changes: Any) -> dict[str, Any]:
    return copy.deepcopy(ENTRY) | changes


def with_question(**changes: Any) -> dict[str, Any]:
    changed = {k: v for k, v in (choice("what?", 3) | changes).items() if v != "REMOVE"}
    return entry(conversations=[choice("fine", 1), changed])


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in ENTRY.items() if name != key}


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ("text", ["expected a JSON object", 'str "text"']),
        (without("video_id"), ["'video_id'", "missing"]),
        (without("video_path"), ["'video_path'", "missing"]),
        (without("conversations"), ["'conversations'", "missing"]),
        (entry(video_id=1.5), ["'video_id'", "float 1.5"]),
        (entry(video_id=True), ["'video_id'", "bool"]),
        (entry(video_path=3), ["'video_path'", "expected text", "int 3"]),
        (entry(conversations=[]), ["'conversations'", "at least one"]),
        (entry(conversations={}), ["'conversations'", "dict"]),
        (entry(conversations=["q"]), ["conversations[0]", "JSON object"]),
        (entry(fps="3"), ["'fps'", "finite number"]),
        (entry(fps=0), ["'fps'", "above 0"]),
        (entry(clip=[5]), ["'clip'", "[start, end]"]),
        (entry(clip=[5, 5]), ["'clip'", "start < end"]),
        (entry(clip=[-1, 5]), ["'clip'", "0 <= start"]),
        (entry(clip=["0", 5]), ["'clip'", "finite number"]),
        (entry(task=4), ["'task'", "expected text"]),
        (with_question(question="REMOVE"), ["conversations[1]", "'question'", "missing"]),
        (with_question(question=" "), ["'question'", "expected text"]),
        (with_question(answer="REMOVE"), ["conversations[1]", "'answer'", "missing"]),
        (with_question(answer=2), ["'answer'", "expected text"]),
        (with_question(answer="pink"), ["'answer'", "'pink' is not among the choices"]),
        (with_question(choices="red"), ["'choices'", "expected a list"]),
        (with_question(choices=[]), ["'choices'", "at least one"]),
        (with_question(choices=["green", 2]), ["'choices'", "list of texts"]),
        (with_question(choices=list("abcdefghi")), ["'choices'", "at most 8", "got 9"]),
        (with_question(end_time="12"), ["'end_time'", "finite number", 'str "12"']),
        (with_question(end_time=True), ["'end_time'", "finite number"]),
        (with_question(end_time=float("nan")), ["'end_time'", "finite number"]),
        (with_question(choices="REMOVE", answer=None), ["'answer'", "expected text"]),
        (with_question(question="who\ud800?"), ["[1]", "'question'", "character 3", "surrogate"]),
        (with_question(answer="\udfff"), ["[1]", "'answer'", "surrogate"]),
        (with_question(choices=["green", "\ud800"]), ["[1]", "'choices'", "surrogate"]),
        (with_question(task="\ud800"), ["[1]", "'task'", "surrogate"]),
        (entry(video_path="\ud800.mp4"), ["'video_path'", "surrogate"]),
        (entry(video_id="\ud800"), ["'video_id'", "surrogate"]),
        ({"\ud800": 1}, ["'video_id'", "missing", "\\ud800"]),
        (with_question(end_time=10**400), ["[1]", "'end_time'", "finite number", "401 digits"]),
        (entry(fps=-(10**400)), ["'fps'", "finite number", "401 digits"]),
        (entry(clip=[0, 10**400]), ["'clip'", "finite number"]),
        (entry(video_id=10**400), ["'video_id'", "expected an integer or text", "401 digits"]),
    ],
)
def test_complaints_name_file_entry_and_field(tmp_path: Path, bad: Any, named: list[str]) -> None:
    path = write_annotations(tmp_path / "anno.json", [ENTRY, bad])
    with pytest.raises(AnnotationError) as complaint:
        load_annotations(path)
    for part in [str(path), "entry 1", *named]:
        assert part in str(complaint.value)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("{nonsense", "not valid JSON"),
        ("\udcff", "not valid JSON"),
        ('{"a": 1}', "expected a JSON list"),
        ("[]", "expected a JSON list"),
        ("", "not valid JSON"),
    ],
)
def test_files_that_are_no_annotations(tmp_path: Path, content: str, named: str) -> None:
    path = tmp_path / "anno.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(AnnotationError, match=named) as complaint:
        load_annotations(path)
    assert str(path) in str(complaint.value)


@pytest.mark.parametrize("value", ["9" * 5000, "-" + "9" * 5000])
def test_a_number_that_python_refuses_to_read_is_named(tmp_path: Path, value: str) -> None:
    path = write_annotations(tmp_path / "a.json", [ENTRY, with_question(end_time=77)])
    path.write_text(path.read_text().replace("77", value))
    with pytest.raises(AnnotationError, match=r"entry 1 .*\[1\], field 'end_time'.*5000 digits"):
        load_annotations(path)


@pytest.mark.parametrize("num_levels", [101, 2000, 200_000])
@pytest.mark.parametrize(("left", "right"), [("[", "]"), ('{"a": ', "}")])
@pytest.mark.parametrize("field", ["question", "subtitles"])
def test_deep_nesting_is_named(
    tmp_path: Path, num_levels: int, left: str, right: str, field: str
) -> None:
    """In any field: whether Python can read it depends on its version."""
    path = write_annotations(tmp_path / "a.json", [ENTRY, with_question(**{field: 'DEEP, ["{'})])
    deep = left * num_levels + "0" + right * num_levels
    path.write_text(path.read_text().replace(json.dumps('DEEP, ["{'), deep))
    with pytest.raises(AnnotationError, match=r"a.json, entry 1, field 'conversations': nested"):
        load_annotations(path)


def test_brackets_in_texts_are_no_nesting(tmp_path: Path) -> None:
    text = "[[{" * 500 + '\\" \\'
    path = write_annotations(tmp_path / "a.json", [with_question(question=text)])
    assert load_annotations(path)[0].questions[1].question == text


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="--anno_path"):
        load_annotations(tmp_path / "none.json")
    with pytest.raises(AnnotationError, match="cannot read"):
        load_annotations(tmp_path)


def test_a_question_of_the_other_kind_is_refused(tmp_path: Path) -> None:
    open_question = {"question": "why?", "answer": "because"}
    path = write_annotations(tmp_path / "a.json", [entry(conversations=[open_question])])
    assert load_annotations(path, OPEN_ENDED)[0].questions[0].correct_letter is None
    with pytest.raises(AnnotationError, match="'choices'"):
        load_annotations(path, MULTIPLE_CHOICE)
    with pytest.raises(AnnotationError, match="'choices'"):
        load_annotations(write_annotations(path, [ENTRY]), OPEN_ENDED)


def test_of_equal_options_the_first_is_right_and_a_warning_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    double = with_question(choices=["red", "green", "green"])
    videos = load_annotations(write_annotations(tmp_path / "a.json", [double]))
    assert videos[0].questions[1].correct_letter == "B"
    assert "same option twice" in caplog.text and "entry 0 conversations[1]" in caplog.text


def test_a_withheld_answer_makes_the_first_choice_right(tmp_path: Path) -> None:
    path = write_annotations(tmp_path / "a.json", [with_question(answer=None)])
    question = load_annotations(path)[0].questions[1]
    assert (question.reference_answer, question.correct_letter) == ("red", "A")


def test_task_of_the_question_comes_before_its_type_and_the_videos(tmp_path: Path) -> None:
    talk = [
        choice("a", task="own", question_type="type"),
        choice("b", question_type="type"),
        choice("c"),
    ]
    path = write_annotations(tmp_path / "a.json", [entry(task="video", conversations=talk)])
    assert [q.task for q in load_annotations(path)[0].questions] == ["own", "type", "video"]


def test_one_option_and_unknown_keys_are_allowed(tmp_path: Path) -> None:
    path = write_annotations(
        tmp_path / "a.json", [with_question(choices=["green"]) | {"subtitle": 1}]
    )
    assert load_annotations(path)[0].questions[1].correct_letter == "A"


def test_body_of_a_multiple_choice_question() -> None:
    assert format_mcqa_prompt("Who?", ["A cat.", "A dog."]) == (
        "Question: Who?\nOptions:\n(A) A cat.\n(B) A dog.\nOnly give the best option."
    )


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("B) A map.", "B"),
        ("(C) y", "C"),
        ("b) x", "b"),
        ("A. foo (bar)", "r"),
        (") x", ""),
        ("D", "D"),
        ("\n E", "E"),
        ("", ""),
        ("   ", ""),
    ],
)
def test_letters_are_read_as_released(reply: str, letter: str) -> None:
    assert extract_characters_regex(reply) == letter


@given(st.sampled_from(LETTERS), st.text())
def test_a_letter_before_the_first_parenthesis_is_found(letter: str, rest: str) -> None:
    assert extract_characters_regex(f"{letter}){rest}") == letter


@given(st.text())
def test_any_reply_gives_at_most_one_character(reply: str) -> None:
    assert len(extract_characters_regex(reply)) <= 1
