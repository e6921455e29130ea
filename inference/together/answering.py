"""Answers of several streams in one batch: every weight is read once for all of them.

Questions are read one after another; then all streams take a step together, each on its own memory.
Tokens are those that each stream would give alone.

Shapes: s streams, h query heads, g key heads, r = h / g, n tokens in the longest memory, d head
width, e embedding width, l layers of a stack, v vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from hermes import StreamMemory
from hermes.rotation import rotate
from hermes.store.shared_store import SharedStore
from inference.abstract_hermes import AbstractHermes
from inference.answers.answering import check_max_new_tokens
from inference.answers.prompts import as_request
from inference.answers.sampler import Sampler
from inference.answers.timing import AnswerClock


class _Speaker(NamedTuple):
    """A stream that is answering."""

    stream: AbstractHermes
    sampler: Sampler
    tokens: list[int]
    room: int
    """Tokens that its answer may have."""

    @property
    def has_ended(self) -> bool:
        stops = self.stream.processor.stop_ids
        return self.tokens[-1] in stops or len(self.tokens) >= self.room

    def text(self) -> str:
        stops = self.stream.processor.stop_ids
        spoken = self.tokens[:-1] if self.tokens[-1] in stops else self.tokens
        return self.stream.processor.decode(spoken)


def answer_together(
    streams: Sequence[AbstractHermes],
    questions: Sequence[str | Mapping[str, str]],
    max_new_tokens: int = 128,
    temperature: float = 0,
    repetition_penalty: float = 1.1,
    seed: int | None = None,
) -> list[str]:
    """One question for each stream, as `AbstractHermes.question_answering` would answer it.

    Streams from one call of `new_streams` are decoded as one batch; others, and those whose policy
    works on a memory of its own for each question, answer one after another. `last_timing` is not
    set for a batch. An error leaves a batch without a turn; where streams answer in turn, those
    before it keep theirs. Draws at a temperature without a seed come in another order than alone.

    Raises:
        ValueError: not one question per stream, the same stream twice, or as `AnswerLoop.run`;
            other errors as there.
    """
    if len(streams) != len(questions) or len({id(stream) for stream in streams}) < len(streams):
        raise ValueError(
            f"expected one question for each of different streams, got {len(questions)} questions "
            f"for {len(streams)} streams"
        )
    check_max_new_tokens(max_new_tokens)
    sampling: dict[str, Any] = {
        "temperature": temperature,
        "repetition_penalty": repetition_penalty,
        "seed": seed,
    }
    store = _common_store(streams)
    if store is None:
        asked = zip(streams, questions, strict=True)
        return [one.question_answering(text, max_new_tokens, **sampling) for one, text in asked]
    requests = [as_request(question) for question in questions]
    with ExitStack() as open_answers:
        open_answers.enter_context(streams[0].naming_remedies("answering together"))
        for stream in streams:
            open_answers.enter_context(stream._answering.begin())
        speakers = [
            _first_token(stream, request, Sampler(**sampling), max_new_tokens)
            for stream, request in zip(streams, requests, strict=True)
        ]
        _speak(speakers, store)
    answers = [speaker.text() for speaker in speakers]
    for stream, request, answer in zip(streams, requests, answers, strict=True):
        stream._answering.remember(request, answer)
    return answers


def _common_store(streams: Sequence[AbstractHermes]) -> SharedStore | None:
    """None where there is nothing to gain, or a stream has grown out of it."""
    place = streams[0].memory.stacks[0].place if len(streams) > 1 else None
    if place is None or not all(_is_in(place.store, stream.memory) for stream in streams):
        return None
    own = any(one.policy.works_at_question_time and not one.policy.reprefills for one in streams)
    return None if own else place.store


def _first_token(
    stream: AbstractHermes, request: Mapping[str, Any], sampler: Sampler, max_new_tokens: int
) -> _Speaker:
    loop = stream._answering
    hidden, _, room = loop.prefill(request, AnswerClock(stream.device))
    return _Speaker(stream, sampler, [sampler(loop.logits(hidden))], min(room, max_new_tokens))


def _speak(speakers: Sequence[_Speaker], store: SharedStore) -> None:
    """Step by step until every answer has ended."""
    active = [speaker for speaker in speakers if not speaker.has_ended]
    while active:
        for speaker in active:
            speaker.stream.memory.reserve(1)
        beside = [speaker for speaker in active if _is_in(store, speaker.stream.memory)]
        alone = [speaker for speaker in active if speaker not in beside]
        hidden = [_step_alone(speaker) for speaker in alone]
        if beside:
            newest = torch.tensor([speaker.tokens[-1] for speaker in beside])
            memories = [speaker.stream.memory for speaker in beside]
            hidden += step_together(beside[0].stream, memories, store, newest).split(1)
        for speaker, row in zip(alone + beside, hidden, strict=True):
            speaker.tokens.append(speaker.sampler(speaker.stream._answering.logits(row)))
        active = [speaker for speaker in active if not speaker.has_ended]


def _is_in(store: SharedStore, memory: StreamMemory) -> bool:
    """Not if an answer of more than the reserve made its buffers grow."""
    return all(stack.place is not None and stack.place.store is store for stack in memory.stacks)


def _step_alone(speaker: _Speaker) -> Tensor:
    newest = torch.tensor(speaker.tokens[-1:])
    return speaker.stream._answering.read(speaker.stream.memory, newest)


@torch.no_grad()
def step_together(
    stream: AbstractHermes, memories: Sequence[StreamMemory], store: SharedStore, tokens: Tensor
) -> Tensor:
    """Read one token into each memory.

    Args:
        stream: whose weights are used.
        memories: s of the store, all with room for one more token.
        tokens: (s,) ids.

    Returns:
        (s, e) normalised hidden states.
    """
    for memory in memories:
        memory.refresh()
    decoder, hidden = stream.decoder, stream.embed(tokens)
    for turn in range(len(memories[0].stacks)):
        stacks = _Stacks.of(memories, store, turn, stream)
        hidden = hidden.to(stacks.slots.device)
        for index, layer in enumerate(memories[0].stacks[turn].layers):
            queries, keys, values = decoder.project(layer, hidden)
            cos, sin = stacks.cos[:, index], stacks.sin[:, index]
            stacks.write(index, keys, values, rotate(keys, cos, sin))
            attended = stacks.attend(index, rotate(queries, cos, sin), decoder.scaling(layer))
            hidden = decoder.after_attention(layer, hidden, attended)
    for memory in memories:
        memory.advance()
    return decoder.norm(hidden)


class _Stacks(NamedTuple):
    """The same stack of all streams."""

    keys: Tensor
    """(all streams of the store, l, g, c, d), as the next two."""
    values: Tensor
    rotated: Tensor
    streams: Tensor
    """(s,) rows of the stream axis."""
    slots: Tensor
    """(s,) where each stream's token goes."""
    cos: Tensor
    """(s, l, d)."""
    sin: Tensor
    mask: Tensor
    """(s, 1, 1, n) bool: slots in use."""
    has_all: bool
    """Whether these are all streams of the store, in their order."""

    @classmethod
    def of(
        cls,
        memories: Sequence[StreamMemory],
        store: SharedStore,
        turn: int,
        stream: AbstractHermes,
    ) -> _Stacks:
        own = [memory.stacks[turn] for memory in memories]
        first = own[0]
        rows = [stack.place.stream for stack in own if stack.place is not None]
        where = torch.tensor([rows, [stack.num_tokens for stack in own]]).to(first.device)
        positions = torch.stack([stack.next_position for stack in own]).flatten()
        tables = stream.decoder.angles(positions.expand(stream.rule.num_axes, -1))
        cos, sin = (table.view(len(own), len(first), -1) for table in tables)
        longest = max(stack.num_tokens for stack in own) + 1
        used = torch.arange(longest, device=first.device) <= where[1][:, None]
        return cls(
            *store.of_stack(first.layers.start),
            streams=where[0],
            slots=where[1],
            cos=cos,
            sin=sin,
            mask=used[:, None, None],
            has_all=rows == list(range(store.num_streams)),
        )

    def write(self, index: int, keys: Tensor, values: Tensor, rotated: Tensor) -> None:
        """(g, s, d) states of a layer into each stream's next slot."""
        for buffer, states in zip(self[:3], (keys, values, rotated), strict=True):
            new = states.transpose(0, 1).to(buffer.dtype)
            buffer[self.streams, index, :, self.slots] = new

    def attend(self, index: int, queries: Tensor, scaling: float) -> Tensor:
        """(h, s, d) rotated queries, each over its own stream -> (h, s, d)."""
        num_heads, count, width = queries.shape
        groups, longest = self.rotated.shape[2], self.mask.shape[-1]
        rows = queries.view(groups, -1, count, width).permute(2, 0, 1, 3)
        attended = scaled_dot_product_attention(
            rows,
            self._of_streams(self.rotated[:, index, :, :longest]),
            self._of_streams(self.values[:, index, :, :longest]),
            attn_mask=self.mask,
            scale=scaling,
        )
        return attended.permute(1, 2, 0, 3).reshape(num_heads, count, width)

    def _of_streams(self, states: Tensor) -> Tensor:
        return states if self.has_all else states.index_select(0, self.streams)
