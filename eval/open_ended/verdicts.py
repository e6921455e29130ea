"""Verdicts of the judge: reading them from a reply, and the cache that keeps each one."""

import ast
import json
import logging
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.files import read_json_object, write_json

logger = logging.getLogger(__name__)

FLAT_DICTIONARY = re.compile(r"\{[^{}]*\}")
MAX_REPLY_CHARACTERS = 10_000


class UnusableReply(ValueError):
    """The reply holds no verdict, or several that differ."""


@dataclass(frozen=True)
class Verdict:
    """`pred` is "yes" or "no"; `score` is finite and between 0 and 5.

    Raises:
        UnusableReply: a field is something else.
    """

    pred: str
    score: float

    def __post_init__(self) -> None:
        if self.pred not in ("yes", "no"):
            raise UnusableReply(f"pred is {self.pred!r}, expected 'yes' or 'no'")
        if not (math.isfinite(self.score) and 0 <= self.score <= 5):
            raise UnusableReply(f"score is {self.score!r}, expected a number from 0 to 5")

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> "Verdict":
        """Verdict from a parsed dictionary; as released, `prev` stands in for a missing `pred`.

        Raises:
            UnusableReply: a key is missing or its value has the wrong kind.
        """
        pred = fields.get("pred", fields.get("prev"))
        if isinstance(pred, bool):
            pred = "yes" if pred else "no"
        words = re.findall(r"[a-z]+", str(pred).lower())
        said = {word for word in words if word in ("yes", "no")}
        if len(said) != 1 or words[0] not in said:  # "not yes" is no yes
            raise UnusableReply(f"pred is {pred!r}, expected 'yes' or 'no'")
        return cls(words[0], _number(fields.get("score")))


def parse_reply(reply: str) -> Verdict:
    """The verdict in a reply: a Python dictionary or JSON, alone, fenced or amid other text.

    Raises:
        UnusableReply: no dictionary in the reply is a verdict, or two verdicts differ.
    """
    verdicts = set()
    reason = "no dictionary in it"
    for fields in _dictionaries(reply[:MAX_REPLY_CHARACTERS]):
        try:
            verdicts.add(Verdict.from_fields(fields))
        except UnusableReply as error:
            reason = str(error)
    if len(verdicts) == 1:
        return verdicts.pop()
    if verdicts:
        reason = f"{len(verdicts)} verdicts that differ"
    raise UnusableReply(f"judge replied {reply[:80]!r}: {reason}")


def _dictionaries(text: str) -> Iterator[dict[str, Any]]:
    """Every flat {...} that can be read, and what the outermost braces hold.

    The latter for replies whose texts have braces of their own.
    """
    outermost = text[text.find("{") : text.rfind("}") + 1]
    for part in (*FLAT_DICTIONARY.findall(text), outermost):
        fields = _literal(part)
        if fields is not None:
            yield {str(key).strip().lower(): value for key, value in fields.items()}


def _literal(text: str) -> dict[Any, Any] | None:
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(text)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
        if isinstance(value, dict):
            return value
    return None


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise UnusableReply(f"score is {value!r}, expected a number from 0 to 5")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise UnusableReply(f"score is {value!r}, expected a number from 0 to 5") from None
    return int(number) if number.is_integer() else number


class VerdictCache:
    """One file per verdict, named by the content hash of its request, written whole or not at all.

    A verdict is found again only for the same judge, prompt, question, answer and prediction.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: str) -> Verdict | None:
        """The verdict kept under `key`; None, with a warning if damaged, when there is none."""
        fields = read_json_object(self._path(key))
        try:
            return None if fields is None else Verdict.from_fields(fields)
        except UnusableReply as error:
            logger.warning("%s is judged anew: %s", self._path(key), error)
            return None

    def known(self, keys: Iterable[str]) -> dict[str, Verdict]:
        """Those of `keys` that have a verdict, with it."""
        found = {key: self.get(key) for key in set(keys)}
        return {key: verdict for key, verdict in found.items() if verdict is not None}

    def put(self, key: str, verdict: Verdict, judge_model: str) -> None:
        """Keep `verdict` under `key`.

        Raises:
            OSError: the folder cannot be written.
        """
        fields = {"pred": verdict.pred, "score": verdict.score, "judge_model": judge_model}
        write_json(self._path(key), fields)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.json"
