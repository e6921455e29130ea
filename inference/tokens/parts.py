"""What makes the tokens of an answer, and what it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from torch import Tensor

from hermes import StreamMemory
from hermes.policies import Recall
from inference.answers.sampler import Sampler
from inference.answers.timing import AnswerClock

if TYPE_CHECKING:
    from inference.stream_parts import Stream
    from inference.tokens.text_pass import TextPass


class Prompt(NamedTuple):
    """A question as it is read."""

    ids: Tensor
    """(t,) token ids."""
    memory: StreamMemory
    """What is read before it."""
    recall: Recall | None
    """What fills that meanwhile."""
    num_new: int
    """Tokens that the answer has at most."""


class Loop(Protocol):
    """What `AnswerLoop` gives to those that make tokens."""

    engine: Stream

    @property
    def text_pass(self) -> TextPass: ...
    @property
    def passes(self) -> Any:
        """A `captured_tokens.PassCache`."""

    def read(self, memory: StreamMemory, ids: Tensor, recall: Recall | None = None) -> Tensor: ...
    def logits(self, hidden: Tensor) -> Tensor: ...


class Tokens(Protocol):
    """An answer that is being made."""

    def __init__(
        self, loop: Loop, prompt: Prompt, sampler: Sampler, clock: AnswerClock
    ) -> None: ...

    def first(self) -> int:
        """Read the question; the first token."""

    def following(self) -> int:
        """One more token behind those so far."""
