"""A text pass with the choice of the next token, recorded as a graph.

Shapes: q rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hermes import StreamMemory
from inference.answers.sampler import Sampler
from inference.tokens import graph
from inference.tokens.choice_state import ChoiceState
from inference.tokens.constant_span import ConstantSpan
from inference.tokens.graph import Recorded
from inference.tokens.parts import Loop


class CapturedPass:
    """Reads ids behind the memory and chooses the token that follows."""

    def __init__(
        self,
        loop: Loop,
        memory: StreamMemory,
        num_rows: int,
        lengths: Sequence[int],
        sampler: Sampler,
        state: ChoiceState,
    ) -> None:
        """One row reads the token of `state`, and stands one slot further the next time; more
        rows read `ids`. `lengths` as in `ConstantSpan`."""
        self._loop, self._sampler, self._state = loop, sampler, state
        text = loop.engine.text_config
        repeats = text.num_attention_heads // text.num_key_value_heads
        self.span = ConstantSpan(memory, num_rows, lengths, repeats)
        device = loop.engine.device
        self._ids = torch.zeros(num_rows, dtype=torch.int64, device=device)
        self._buffers = [stack.rotated for stack in memory.stacks]
        self._recorded: Recorded | None = None

    @property
    def is_current(self) -> bool:
        """Whether the memory's buffers are where they were, and what was recorded is valid."""
        if self._recorded is not None and not self._recorded.is_valid:
            return False
        stacks = self.span.memory.stacks
        return all(s.rotated is held for s, held in zip(stacks, self._buffers, strict=True))

    def read(self, ids: Tensor) -> None:
        """Take (t,) ids instead of the latest token; the rows beyond are padding."""
        self._ids[: len(ids)] = ids.to(self._ids.device, non_blocking=True)

    def launch(self) -> None:
        """Run; recorded at the first time. The span has been placed."""
        if self._recorded is None:
            changed = [*self._state.tensors, self.span.offset]
            self._recorded = graph.capture(self._run, changed)
        self._recorded.replay()

    def _run(self) -> None:
        engine, single = self._loop.engine, len(self._ids) == 1
        self.span.begin()
        embedded = engine.embed(self._state.token if single else self._ids)
        hidden = self._loop.text_pass(embedded, self.span)
        self._state.choose(self._sampler, self._loop.logits(hidden))
        if single:
            self.span.offset.add_(1)
