"""The tokens of an answer as replayed graphs: the device goes on to the next token while the host
looks at the one before."""

from __future__ import annotations

from hermes import StreamMemory
from inference.answers.sampler import Sampler
from inference.answers.timing import AnswerClock
from inference.tokens.captured_pass import CapturedPass
from inference.tokens.choice_state import ChoiceState
from inference.tokens.mailbox import Mailbox
from inference.tokens.parts import Loop, Prompt

NUM_ROWS = (16, 32, 64, 128, 256, 512)
"""Lengths to which questions are padded; longer ones to multiples of the last."""
_BLOCK = 256
"""Slots are looked at in multiples of it at least: of an eighth of a power of two."""
_MAX_PASSES = 12
_SPARE = 8
"""Slots that a recording may write beyond those of the answer."""


class PassCache:
    """Recorded passes of one stream."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        head = loop.engine.model.lm_head
        self.state = ChoiceState(head.out_features, head.weight.device)
        self._passes: dict[tuple[object, ...], CapturedPass] = {}
        self._addresses: list[int] = []

    def begin(self) -> None:
        """An answer begins: what was recorded is of no use once weights have moved."""
        engine = self._loop.engine
        engine.decoder.refresh()
        weights = (*engine.language_model.parameters(), *engine.model.lm_head.parameters())
        addresses = [weight.data_ptr() for weight in weights]
        if addresses != self._addresses:
            self._passes, self._addresses = {}, addresses
        self.state.begin()

    def of(self, prompt: Prompt, sampler: Sampler, num_rows: int, num_beyond: int) -> CapturedPass:
        """For so many rows, the last of which is `num_beyond` slots behind the memory at most."""
        memory = prompt.memory
        memory.reserve(num_beyond + _SPARE)
        lengths = lengths_for(memory, num_beyond)
        key = (id(memory), num_rows, *lengths, sampler.temperature, sampler.penalty)
        self._passes = {name: one for name, one in self._passes.items() if one.is_current}
        found = self._passes.pop(key, None)
        if found is None:
            found = CapturedPass(self._loop, memory, num_rows, lengths, sampler, self.state)
        self._passes[key] = found  # the one used longest ago comes first
        if len(self._passes) > _MAX_PASSES:
            del self._passes[next(iter(self._passes))]
        return found


class CapturedTokens:
    """Nothing is appended to the memory: see `TextPass`."""

    def __init__(self, loop: Loop, prompt: Prompt, sampler: Sampler, clock: AnswerClock) -> None:
        self._prompt, self._sampler, self._clock = prompt, sampler, clock
        self._passes = loop.passes
        self._mailbox = Mailbox(loop.engine.device)
        self._num_launched = 0
        self._latest: CapturedPass | None = None

    def first(self) -> int:
        """As `Tokens.first`."""
        self._prompt.memory.refresh()
        ids = self._prompt.ids
        self._passes.begin()
        num_rows = padded(len(ids))
        question = self._passes.of(self._prompt, self._sampler, num_rows, num_rows)
        question.span.place(0, len(ids))
        question.read(ids)
        self._launch(question)
        self._clock.prefilled()
        return self._taken()

    def following(self) -> int:
        """As `Tokens.following`: the one after it is launched before it is waited for."""
        if self._num_launched == 1:
            self._next()
        if self._num_launched < self._prompt.num_new:
            self._next()
        return self._taken()

    def _next(self) -> None:
        offset = len(self._prompt.ids) + self._num_launched - 1
        following = self._passes.of(self._prompt, self._sampler, 1, offset + 1)
        if following is not self._latest:
            following.span.place(offset, 1)
        self._latest = following
        self._launch(following)

    def _launch(self, what: CapturedPass) -> None:
        state = self._passes.state
        state.prepare(self._sampler, self._num_launched)
        what.launch()
        self._mailbox.post(state.choice)
        self._num_launched += 1

    def _taken(self) -> int:
        return self._sampler.accept(self._mailbox.take())


def lengths_for(memory: StreamMemory, num_beyond: int) -> list[int]:
    """Slots of each stack that a pass looks at whose last row is so many behind those in use."""
    return [min(_rounded(stack.num_tokens + num_beyond), stack.capacity) for stack in memory.stacks]


def _rounded(num_slots: int) -> int:
    """Few different lengths while a memory fills up."""
    block = max(_BLOCK, 1 << max(num_slots.bit_length() - 4, 0))
    return -(-num_slots // block) * block


def padded(num_ids: int) -> int:
    """Rows for a question of so many tokens."""
    longest = NUM_ROWS[-1]
    fitting = (rows for rows in NUM_ROWS if rows >= num_ids)
    return next(fitting, -(-num_ids // longest) * longest)
