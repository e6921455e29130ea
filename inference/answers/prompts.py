"""Prompt strings: the released wrapping of questions, the guidance texts, the dialogue history."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from string import ascii_uppercase

from hermes.policy_parts.guidance import QUESTIONS, TEMPLATE, Guidance, Questions, texts_of

LOCAL, GLOBAL = QUESTIONS["default"]
ANSWER_PREFIX = "Best option: ("

_OPTION = re.compile(r"\([A-Z]\)\s*(.+?)(?=\n\([A-Z]\)|\nThe best answer|\n*\Z)", re.DOTALL)
_LONE_LETTER = re.compile(r"\(?([A-Z])\)?\.?")
_LETTER_MARK = re.compile(r"[A-Z]\) ")


@dataclass(frozen=True)
class Turn:
    """One question and the model's own answer to it, spaces around it included."""

    question: str
    answer: str
    options: dict[str, str] = field(default_factory=dict)
    """Letter -> option text; empty for open questions."""


def get_prompt(body: str, *, mc: bool) -> str:
    """Wrap a question: same for both families, as released (no newline after the chat end)."""
    prefix = ANSWER_PREFIX if mc else ""
    return f"\n{body}{TEMPLATE}{prefix}"


def as_request(asked: str | Mapping[str, str]) -> dict[str, str]:
    """A question as the answer loop reads it: `question`, `prompt`, perhaps `formatted_question`.

    Args:
        asked: an open question, or a mapping that lacks at most the prompt.

    Raises:
        TypeError: anything else.
    """
    if isinstance(asked, str):
        asked = {"question": asked}
    if not isinstance(asked, Mapping) or not isinstance(asked.get("question"), str):
        raise TypeError(
            "expected a question, or a mapping with 'question' and optionally 'prompt' and "
            f"'formatted_question', got {asked!r:.80}"
        )
    body = asked.get("formatted_question")
    return {"prompt": get_prompt(body or asked["question"], mc=bool(body)), **asked}


def parse_options(formatted_question: str) -> dict[str, str]:
    """Letter -> option text of a formatted multiple-choice question.

    As released: options are counted, not named by their own letters, so a "(B) " inside the
    question counts too; and the pattern waits for a closing sentence that the prompt does not
    contain, so the last option carries the instruction line. Steering depends on it, so it stays.
    """
    texts = _OPTION.findall(formatted_question)
    return {letter: text.strip() for letter, text in zip(ascii_uppercase, texts, strict=False)}


def guidance_texts(last_turn: Turn | None = None, prompts: str = "default") -> dict[Guidance, str]:
    """The texts whose attention scores the memory; the last turn, if any, is put in front.

    Args:
        prompts: which questions, a key of `QUESTIONS`.
    """
    local, overall = QUESTIONS[prompts]
    if last_turn is not None:
        spoken = f"Question: {last_turn.question} Answer: {_spoken_answer(last_turn)}"
        local = f"Find recent details related to: {spoken}. {local}"
        overall = f"Context summary: {spoken}. {overall}"
    return texts_of(Questions(local, overall))


def _spoken_answer(turn: Turn) -> str:
    """A lone letter becomes the text of its option; then every "X) " goes, as released.

    That leaves "(" of "(B) a cat", and of "a (TV) set" it leaves "a (Tset".
    """
    answer = turn.answer
    letter = _LONE_LETTER.fullmatch(answer.strip())
    if letter and letter[1] in turn.options:
        answer = turn.options[letter[1]]
    return _LETTER_MARK.sub("", answer)


def prompts_hash(init_prompt: str, *others: str) -> str:
    """Twelve hex digits over every string a model reads besides questions; kept with results.

    Guidance counts with its default questions: what a memory asks instead is one of its settings,
    and its own `guidance_hash`.

    Args:
        others: what a family reads between the frames and after them; empty texts do not count.
    """
    strings = [*filter(None, others), init_prompt]
    strings += [get_prompt("{}", mc=True), get_prompt("{}", mc=False)]
    return _hash([*strings, *_steered()])


def guidance_hash(prompts: str) -> str:
    """Twelve hex digits over the guidance texts of these questions, an earlier turn in front."""
    return _hash(_steered(prompts))


def _steered(prompts: str = "default") -> list[str]:
    """What a turn makes of the guidance questions; the template is part of every prompt."""
    steered = guidance_texts(Turn("{q}", "{a}"), prompts)
    return [steered[name] for name in ("local", "mixed", "global")]


def _hash(strings: list[str]) -> str:
    return hashlib.sha256(json.dumps(strings).encode()).hexdigest()[:12]
