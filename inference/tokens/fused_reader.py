"""Text read piece by piece behind a memory, which stays as it is. Shapes: e embedding width."""

from __future__ import annotations

from torch import Tensor

from hermes import StreamMemory
from inference.tokens.exact_span import ExactSpan
from inference.tokens.parts import Loop


class FusedReader:
    """One question and what follows it; see `TextPass`."""

    def __init__(self, loop: Loop, memory: StreamMemory) -> None:
        memory.refresh()
        loop.engine.decoder.refresh()
        self._loop, self._memory, self._num_read = loop, memory, 0

    def __call__(self, ids: Tensor) -> Tensor:
        """Read (t,) token ids behind those before; the last hidden state (1, e)."""
        engine, memory = self._loop.engine, self._memory
        memory.reserve(self._num_read + len(ids))
        span = ExactSpan(memory, engine.decoder.kernel, self._num_read, len(ids))
        self._num_read += len(ids)
        return self._loop.text_pass(engine.embed(ids), span)
