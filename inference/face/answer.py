"""A question as people ask it, and the reply."""

from __future__ import annotations

from collections.abc import Sequence

from inference.answers.multiple_choice import LETTERS, extract_characters_regex, format_mcqa_prompt


class Answer(str):
    """What the model said, without the spaces around it; with options also which one it chose."""

    letter: str | None
    """The letter of the chosen option, read as the runner reads it; None without options."""
    option: str | None
    """The text of that option; None without options, or if the reply names none of them."""

    def __new__(cls, text: str, options: Sequence[str] | None = None) -> Answer:
        answer = super().__new__(cls, text.strip())
        answer.letter = None if options is None else extract_characters_regex(text)
        chosen = dict(zip(LETTERS, options or (), strict=False))
        answer.option = chosen.get(answer.letter or "")
        return answer


def request_for(question: str, options: Sequence[str] | None = None) -> dict[str, str]:
    """What the engine reads; with options the multiple-choice question of the benchmarks.

    Raises:
        TypeError: a question that is no text, or options that are no list of texts.
        ValueError: no option, or more than eight.
    """
    if not isinstance(question, str):
        raise TypeError(f"the question must be a text, got {question!r:.80}")
    if options is None:
        return {"question": question}
    if isinstance(options, str) or not all(isinstance(text, str) for text in options):
        raise TypeError(f"options must be a list of texts, got {options!r:.80}")
    return {"question": question, "formatted_question": format_mcqa_prompt(question, options)}
