"""Answering from memory: prefill the question, decode, and leave no trace in the memory."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import cached_property

import torch
from torch import Tensor

from hermes import ContextLimitError, StreamMemory
from hermes.policies import Recall
from inference.answers.cleanup import settled
from inference.answers.prompts import Turn, parse_options
from inference.answers.sampler import Sampler
from inference.answers.timing import AnswerClock
from inference.errors import NonFiniteLogitsError
from inference.stream_parts import Stream
from inference.tokens.captured_tokens import CapturedTokens, PassCache
from inference.tokens.fused_tokens import FusedTokens
from inference.tokens.parts import Prompt, Tokens
from inference.tokens.plain_tokens import PlainTokens
from inference.tokens.text_pass import TextPass

logger = logging.getLogger(__name__)

_KINDS: dict[str, type[Tokens]] = {
    "plain": PlainTokens,
    "fused": FusedTokens,
    "captured": CapturedTokens,
}
"""By the name of `execution`."""


class AnswerLoop:
    """Decoding for one stream; refuses to be interleaved with watching."""

    def __init__(self, engine: Stream) -> None:
        self.engine = engine
        self._running = False

    def refuse_interruption(self) -> None:
        """Raise while an answer is being streamed: its tokens still stand in the memory."""
        if self._running:
            raise RuntimeError(
                "an answer is still being streamed; exhaust or close its generator first"
            )

    def run(
        self,
        input_text: Mapping[str, str],
        max_new_tokens: int,
        temperature: float,
        repetition_penalty: float,
        seed: int | None,
    ) -> Iterator[str]:
        """Yield the answer's text piece by piece; the turn enters the history at the end.

        Raises:
            ContextLimitError: the prompt does not fit below the model's position limit. An answer
                that would reach the limit ends there.
            DeviceMemoryError: the device is full; the memory is as before.
            NonFiniteLogitsError: the model's output is NaN or infinite.
            ValueError: max_new_tokens below 1.
        """
        check_max_new_tokens(max_new_tokens)
        self.refuse_interruption()
        engine, sampler = self.engine, Sampler(temperature, repetition_penalty, seed)
        tokens: list[int] = []
        shown = ""
        with (
            engine.naming_remedies("answering"),
            self.begin(),
            closing(self._tokens(input_text, sampler, max_new_tokens)) as stream,
        ):
            for token in stream:
                tokens.append(token)
                text = settled(engine.processor.decode_raw(tokens))
                if len(text) > len(shown):
                    yield text[len(shown) :]
                    shown = text
            yield engine.processor.decode(tokens)[len(shown) :]
        self.remember(input_text, engine.processor.decode(tokens))

    @contextmanager
    def begin(self) -> Iterator[None]:
        """Inside, an answer is on its way; what it adds to the memory leaves again. Errors at a
        limit are named by whoever begins."""
        self.refuse_interruption()
        engine = self.engine
        if not engine.memory.num_prefix:
            engine.encode_init_prompt()
        engine.last_timing = None
        self._running = True
        try:
            with engine.memory.scratch():
                yield
        except NonFiniteLogitsError:
            engine.memory.wipe_unused()
            raise
        finally:
            self._running = False

    def _tokens(
        self, input_text: Mapping[str, str], sampler: Sampler, max_new_tokens: int
    ) -> Generator[int, None, None]:
        engine = self.engine
        clock = AnswerClock(engine.device)
        try:
            with clock.token():
                prompt = self._prompt(input_text, clock, max_new_tokens)
                tokens = self._kind(prompt)(self, prompt, sampler, clock)
                token = tokens.first()
            while token not in engine.processor.stop_ids:
                yield token
                if clock.num_tokens == prompt.num_new:
                    break
                with clock.token():
                    token = tokens.following()
        finally:
            if clock.num_tokens:
                spent = engine.compression_seconds, engine.kept.vision_seconds
                engine.last_timing = clock.timing(*spent)

    @cached_property
    def text_pass(self) -> TextPass:
        """Reads text without leaving a trace; only where layers are fused."""
        return TextPass(self.engine.decoder, self.engine.rule.num_axes)

    @cached_property
    def passes(self) -> PassCache:
        """What has been recorded."""
        return PassCache(self)

    def forget_recorded(self) -> None:
        """Recorded passes hold the memory that they read."""
        self.__dict__.pop("passes", None)

    def _kind(self, prompt: Prompt) -> type[Tokens]:
        if prompt.recall is not None or prompt.memory.filled_late:
            return PlainTokens
        kind = _KINDS[self.engine.execution]
        in_place = prompt.memory.storage.lies_beside_others
        return FusedTokens if kind is CapturedTokens and not in_place else kind

    def _prompt(
        self, input_text: Mapping[str, str], clock: AnswerClock, max_new_tokens: int
    ) -> Prompt:
        processor = self.engine.processor
        prompt = self.engine.closing_prompt + input_text["prompt"]
        ids = processor.encode(prompt)
        clock.tokenised()
        memory, recall = self.engine.kept.prepare(ids)
        if recall:
            recall = _by_rows(recall, processor.rows_of(input_text["question"], prompt))
        room = self._room(memory, len(ids))
        return Prompt(ids, memory, recall, min(room, max_new_tokens))

    def read(self, memory: StreamMemory, ids: Tensor, recall: Recall | None = None) -> Tensor:
        """Read (t,) token ids after what is in the memory; the last hidden state (1, e)."""
        engine = self.engine
        placement = engine.rule.text(len(ids), engine.device)
        hidden = engine.decoder.forward(memory, engine.embed(ids), placement, recall=recall)
        assert hidden is not None
        return hidden

    @torch.no_grad()
    def logits(self, hidden: Tensor) -> Tensor:
        """(v,) of the last row of (q, e) hidden states."""
        head = self.engine.model.lm_head
        return head(hidden[-1].to(head.weight.device))

    def _room(self, memory: StreamMemory, num_prompt: int) -> int:
        """Tokens that can be generated below the model's limit; the answer ends there."""
        limit = self.engine.max_positions
        room = int(limit - memory.measure_positions()) - num_prompt
        if room < 1:
            lazy = self.engine.kept.policy.evicts and self.engine.streaming
            raise ContextLimitError(
                f"the question needs {num_prompt} positions after {memory.position_bound:g}, the "
                f"model ends at {limit}: shorten the question"
                + (" or set reindex='eager'" if lazy else "")
            )
        return room

    def remember(self, input_text: Mapping[str, str], answer: str) -> None:
        """Enter the turn into the dialogue."""
        engine = self.engine
        options = parse_options(input_text.get("formatted_question", ""))
        engine.conv_history.append(Turn(input_text["question"], answer, options))
        timing = engine.last_timing
        if timing is not None:
            logger.info("TTFT: %s seconds", timing.first_token_seconds)
        logger.info("Pred Answer:  %s", answer)


def check_max_new_tokens(max_new_tokens: int) -> None:
    """Raises ValueError for fewer than one."""
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens must be at least 1, got {max_new_tokens}")


def _by_rows(recall: Recall, rows: slice) -> Recall:
    """The recall that sees only these tokens' queries: the question's own, not those of the
    options and of the prompt's frame, which are the same whatever is asked."""
    return lambda layer, queries: recall(layer, queries[:, rows])
