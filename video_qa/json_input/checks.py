"""Checking JSON with pydantic; complaints say where, which field, what was expected and found.

Imported where a file is read, so that the engine and the question loop run without pydantic.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import ErrorDetails, PydanticCustomError

EXPECTED = {
    "string_type": "text",
    "float_type": "a finite number",
    "finite_number": "a finite number",
    "greater_than": "a number above 0",
    "int_type": "an integer",
    "bool_type": "true or false",
    "list_type": "a list with at least one item",
    "too_short": "a list with at least one item",
    "dict_type": "a JSON object",
    "model_type": "a JSON object",
}
"""Kind of pydantic's error -> what should have stood there."""
Model = TypeVar("Model", bound="Checked")


class Checked(BaseModel):
    """A JSON object of which nothing is converted; keys it does not know are ignored."""

    model_config = ConfigDict(strict=True)


def check(model: type[Model], value: Any, where: str, **context: Any) -> Model:
    """``value`` as that model. Raises ValueError; ``where`` opens its message."""
    try:
        return model.model_validate(value, context=context)
    except ValidationError as error:
        found = error.errors(include_url=False)
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise ValueError(f"{where}{_complaint(found[0])}{more}") from None


def problem(text: str) -> PydanticCustomError:
    """For validators: an error that says this, and then what was found."""
    return PydanticCustomError("problem", text)


def _encodable(text: str) -> str:
    """Refuse a text that no file can hold, before an answer to it is lost."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = "is half of a surrogate pair, which is no character"
        raise problem(f"character {error.start} {half}") from None
    return text


def _filled(text: str) -> str:
    if not text.strip():
        raise problem("expected text")
    return text


def _identifier(value: Any) -> int | str:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise problem("expected an integer or text")
    return _encodable(value) if isinstance(value, str) else value


Characters = Annotated[str, AfterValidator(_encodable)]
Text = Annotated[
    Characters, AfterValidator(_filled), WithJsonSchema({"type": "string", "pattern": r"\S"})
]
Number = Annotated[float, Field(allow_inf_nan=False)]
Identifier = Annotated[
    Any, AfterValidator(_identifier), WithJsonSchema({"type": ["integer", "string"]})
]


def _complaint(error: ErrorDetails) -> str:
    kind, loc, found = error["type"], error["loc"], error["input"]
    is_object = kind == "model_type"
    place = _place(loc, is_object)
    if kind == "missing":
        present = _printable(", ".join(sorted(found))) or "none"
        return f"{place}: missing (fields present: {present})"
    expected = f"expected {EXPECTED[kind]}" if kind in EXPECTED else error["msg"]
    if loc and isinstance(loc[-1], int) and not is_object and kind in EXPECTED:
        expected = f"expected a list of {EXPECTED[kind].removeprefix('a ')}s"
    return f"{place}: {expected}, got {shown(found)}"


def _place(loc: tuple[int | str, ...], is_object: bool) -> str:
    names: list[str] = []
    for part in loc:
        if isinstance(part, int):
            names[-1] += f"[{part}]"
        else:
            names.append(part)
    if names and not is_object:
        names[-1] = f"field '{names[-1].partition('[')[0]}'"
    return "".join(f", {name}" for name in names)


def shown(value: Any) -> str:
    """A value as it may stand in a message: its type and at most 80 characters of it."""
    text = _printable(json.dumps(value, ensure_ascii=False, default=str))
    return f"{type(value).__name__} {text if len(text) <= 80 else text[:77] + '...'}"


def _printable(text: str) -> str:
    """Halves of surrogate pairs, which no terminal can show, as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()
