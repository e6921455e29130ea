"""Letters of multiple-choice answers: the released parsing rule, and what counts as unparsed."""

import ast

import pandas as pd

from eval.results_table import answered_rows

LETTERS = "ABCDEFGH"


def parse_choice(answer: str) -> str:
    """The released rule: the character just before the first ")", else the first character.

    Lower-case letters stay lower case (and count as wrong); "" when nothing is there. The runner
    has its own copy, because only the command line of `video_qa` may import `eval`.
    """
    text = answer.strip()
    head, bracket, _ = text.partition(")")
    return head[-1:] if bracket else text[:1]


def unparsed_rows(table: pd.DataFrame) -> pd.Series:
    """Boolean per row: no answer, or a `pred_choice` that does not start with A ... H."""
    has_answer = answered_rows(table)
    has_letter = table["pred_choice"].str.strip().str[:1].isin(list(LETTERS))
    return ~(has_answer & has_letter)


def reparsed_rows(table: pd.DataFrame) -> pd.Series:
    """Boolean per row: `pred_choice` is not what the released rule reads in `pred_answer`."""
    return table["pred_answer"].map(parse_choice) != table["pred_choice"].str.strip()


def ambiguous_rows(table: pd.DataFrame) -> pd.Series:
    """Boolean per row: the correct option's text occurs twice, so its letter is ambiguous.

    The release takes the first of them; False where `choices` or `answer` is not a column.
    """
    if not {"choices", "answer"} <= set(table.columns):
        return pd.Series(False, index=table.index)
    counts = [
        _choices(choices).count(answer)
        for choices, answer in zip(table["choices"], table["answer"], strict=True)
    ]
    return pd.Series(counts, index=table.index) > 1


def _choices(text: str) -> list[str]:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return []
    return [str(choice) for choice in value] if isinstance(value, list | tuple) else []
