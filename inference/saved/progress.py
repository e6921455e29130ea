"""How far a stream has come: its dialogue and its count of frames."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from inference.answers.prompts import Turn

if TYPE_CHECKING:
    from inference.abstract_hermes import AbstractHermes


@dataclass(frozen=True)
class Progress:
    """Host state of a stream beside its memory.

    Raises:
        ValueError: a field that cannot be; the message names it and its value.
    """

    conv_history: list[Turn]
    total_processed_frames: int
    tokens_per_frame: float | None
    fresh: bool
    """Whether a chunk has been read for which room is still to be made."""
    delay_seconds: float = 0.0

    def __post_init__(self) -> None:
        frames, per_frame = self.total_processed_frames, self.tokens_per_frame
        checks = {
            "conv_history": all(map(_is_turn, self.conv_history)),
            "total_processed_frames": type(frames) is int and frames >= 0,
            "tokens_per_frame": per_frame is None or (_is_number(per_frame) and per_frame > 0),
            "fresh": isinstance(self.fresh, bool),
            "delay_seconds": _is_number(self.delay_seconds),
        }
        for name, holds in checks.items():
            if not holds:
                raise ValueError(f"{name} cannot be {getattr(self, name)!r}")

    @classmethod
    def of(cls, engine: AbstractHermes) -> Progress:
        """Of a stream."""
        return cls(
            engine.conv_history,
            engine.total_processed_frames,
            engine._tokens_per_frame,
            engine._fresh,
            engine._delay_seconds,
        )

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Progress:
        """Inverse of `dataclasses.asdict`.

        Raises:
            KeyError, TypeError, ValueError: a field is missing, unknown or cannot be.
        """
        return cls(**{**state, "conv_history": [Turn(**turn) for turn in state["conv_history"]]})

    def to_json(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)

    def give(self, engine: AbstractHermes) -> None:
        """Let a stream go on from here."""
        engine.conv_history = list(self.conv_history)
        engine.total_processed_frames = self.total_processed_frames
        engine._tokens_per_frame = self.tokens_per_frame
        engine._fresh = self.fresh
        engine._delay_seconds = self.delay_seconds


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_turn(turn: Turn) -> bool:
    options = turn.options
    texts = [turn.question, turn.answer]
    if not isinstance(options, dict):
        return False
    return all(isinstance(text, str) for text in [*texts, *options, *options.values()])
