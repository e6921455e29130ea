"""Prompt strings, letter by letter as released (sections 2.5, 5.2 and 5.5 of the release notes)."""

from __future__ import annotations

import pytest

from inference.answers.prompts import Turn, get_prompt, guidance_texts, parse_options, prompts_hash
from inference.llavaov_hermes import LlavaOneVisionHermes
from inference.qwenvl_hermes import QwenVLHermes

BODY = "Question: Who?\nOptions:\n(A) one man\n(B) two\nmen\n(C) none\nOnly give the best option."
LOCAL = (
    "Describe the current scene in detail, focusing on specific objects, fine-grained actions, "
    "and spatial relationships."
)
OVERALL = (
    "Summarize the video narrative, identifying main characters, key events, timeline changes, "
    "and the overall theme."
)


def test_question_wrapping():
    end = "<|im_end|><|im_start|>assistant\n"
    assert get_prompt("Q", mc=True) == f"\nQ{end}Best option: ("
    assert get_prompt("Q", mc=False) == f"\nQ{end}"


def test_init_prompts():
    assert LlavaOneVisionHermes.init_prompt == (
        "<|im_start|>system \nYou are a helpful assistant.<|im_end|><|im_start|>user "
    )
    assert QwenVLHermes.init_prompt == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
    )


def test_guidance_without_history():
    texts = guidance_texts()
    expected = {"local": LOCAL, "global": OVERALL, "mixed": f"{LOCAL}; {OVERALL}"}
    assert {name: texts[name] for name in expected} == expected


def test_guidance_with_history():
    spoken = "Question: Who came? Answer: a man with a hat"
    texts = guidance_texts(Turn("Who came?", "a man with a hat"))
    local = f"Find recent details related to: {spoken}. {LOCAL}"
    overall = f"Context summary: {spoken}. {OVERALL}"
    assert (texts["local"], texts["global"]) == (local, overall)
    assert texts["mixed"] == f"{local}; {overall}"


def test_the_last_option_carries_the_instruction_line():
    assert parse_options(BODY) == {
        "A": "one man",
        "B": "two\nmen",
        "C": "none\nOnly give the best option.",
    }
    assert parse_options("What happens?") == {}


def test_options_are_counted_as_released():
    """By their place, not by their letter; the question's own marks count too."""
    assert parse_options("Question: Is (B) right?\nOptions:\n(A) yes \n(B) no\n") == {
        "A": "right?\nOptions:",
        "B": "yes",
        "C": "no",
    }


@pytest.mark.parametrize(
    ("answer", "spoken"),
    [
        ("A", "one man"),
        ("(A)", "one man"),
        ("A.", "one man"),
        (" (A). ", "one man"),
        ("C", "none\nOnly give the best option."),
        ("A) one man", "one man"),
        ("(B) two", "(two"),
        ("A)one", "A)one"),
        ("made with (CGI)", "made with (CGI)"),
        ("a (TV) set", "a (Tset"),
        (" a cat ", " a cat "),
        ("H", "H"),
        ("A cat", "A cat"),
        ("a", "a"),
        ("", ""),
    ],
)
def test_the_answer_in_the_history(answer, spoken):
    texts = guidance_texts(Turn("Who?", answer, parse_options(BODY)))
    assert texts["global"] == f"Context summary: Question: Who? Answer: {spoken}. {OVERALL}"


def test_the_hash_depends_on_the_strings(monkeypatch):
    before = prompts_hash("init")
    assert prompts_hash("init") == before
    assert len(before) == 12
    assert prompts_hash("other") != before
    monkeypatch.setattr("inference.answers.prompts.ANSWER_PREFIX", "Answer: (")
    assert prompts_hash("init") != before
