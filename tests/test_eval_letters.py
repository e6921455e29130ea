"""The released letter rule, and which predictions count as unparsed."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.multiple_choice.letters import ambiguous_rows, parse_choice, reparsed_rows, unparsed_rows


# The released parser's own answers on these texts.
@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B) A map.", "B"),
        ("(C) y", "C"),
        ("b) x", "b"),
        ("A. foo (bar)", "r"),
        (") x", ""),
        ("", ""),
        ("   ", ""),
        ("  D  ", "D"),
        ("A", "A"),
        ("E) one) two)", "E"),
    ],
)
def test_released_cases(answer: str, letter: str) -> None:
    assert parse_choice(answer) == letter


@given(st.text())
def test_a_choice_is_at_most_one_character_of_the_answer(answer: str) -> None:
    letter = parse_choice(answer)
    assert len(letter) <= 1
    assert letter in answer


@given(st.sampled_from("ABCDEFGH"), st.text(alphabet=st.characters(exclude_characters=")")))
def test_letter_bracket_text_is_read_as_the_letter(letter: str, text: str) -> None:
    assert parse_choice(f"{letter}) {text}") == letter
    assert parse_choice(f"({letter}) {text}") == letter


def test_unparsed_and_reparsed_rows() -> None:
    table = pd.DataFrame(
        {
            "pred_answer": ["B) x", "", "b) x", "H", "I) x", "A. (x)", "None"],
            "pred_choice": ["B", "A", "b", "H", "I", "A", "N"],
        }
    )
    assert list(unparsed_rows(table)) == [False, True, True, False, True, False, True]
    assert list(reparsed_rows(table)) == [False, True, False, False, False, True, False]


def test_only_a_duplicated_correct_option_is_ambiguous() -> None:
    choices = ["['a', 'b', 'a']", "['a', 'b', 'b']", "not a list", "['a', 'b']"]
    table = pd.DataFrame({"choices": choices, "answer": ["a", "a", "a", "a"]})
    assert list(ambiguous_rows(table)) == [True, False, False, False]
    assert not ambiguous_rows(table.drop(columns="choices")).any()
