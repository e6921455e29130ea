"""How a question is put to the model and how a letter is read out of its reply, as released."""

from __future__ import annotations

from collections.abc import Sequence

LETTERS = "ABCDEFGH"
CHOICE_TOKENS, OPEN_TOKENS = 16, 256
"""Most tokens of an answer, with options and without, as the released runner asks for."""


def format_mcqa_prompt(question: str, candidates: Sequence[str]) -> str:
    """Body of a multiple-choice question: one line per option, ``(A) text`` and so on.

    Raises:
        ValueError: no candidate, or more than there are letters.
    """
    if not 1 <= len(candidates) <= len(LETTERS):
        raise ValueError(f"expected 1 to {len(LETTERS)} options, got {len(candidates)}")
    options = [f"({letter}) {text}" for letter, text in zip(LETTERS, candidates, strict=False)]
    return "\n".join([f"Question: {question}", "Options:", *options, "Only give the best option."])


def extract_characters_regex(text: str) -> str:
    """The predicted letter: the character before the first ``)``, else the first one, else none.

    The rule of the release, kept with its quirks because published numbers were made with it:
    ``b) x`` gives a lower-case ``b`` (counts as wrong) and ``A. foo (bar)`` gives ``r``.
    """
    text = text.strip()
    before, parenthesis, _ = text.partition(")")
    return before[-1:] if parenthesis else text[:1]
