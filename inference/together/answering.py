"""Answers of several streams in one batch: every weight is read once for all of them.

The questions are read in one pass, then all streams take a step together, each on its own memory.
Tokens are those that each stream would give alone.

Shapes: s streams, e embedding width, v vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from hermes.store.shared_store import SharedStore
from inference.abstract_hermes import AbstractHermes
from inference.answers.answering import check_max_new_tokens
from inference.answers.prompts import as_request
from inference.together.beside import SideBySide, is_in
from inference.together.choice import Choices


@dataclass(eq=False)
class _Speaker:
    """A stream that is answering."""

    number: int
    stream: AbstractHermes
    unread: Tensor
    """(t,) ids: the question, later the newest token."""
    room: int
    """Tokens that its answer may have."""
    tokens: list[int] = field(default_factory=list)

    @property
    def has_ended(self) -> bool:
        return self.tokens[-1] in self.stream.processor.stop_ids or len(self.tokens) >= self.room

    def say(self, token: int) -> None:
        self.tokens.append(token)
        self.unread = torch.tensor([token])

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
    works on a memory of its own for each question, and those whose memory rests in eight bits
    (`kv_dtype`), answer one after another. `last_timing` is not
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
            _with_question(number, stream, request, max_new_tokens)
            for number, (stream, request) in enumerate(zip(streams, requests, strict=True))
        ]
        _speak(speakers, store, Choices(len(streams), **sampling))
    answers = [speaker.text() for speaker in speakers]
    for stream, request, answer in zip(streams, requests, answers, strict=True):
        stream._answering.remember(request, answer)
    return answers


def _common_store(streams: Sequence[AbstractHermes]) -> SharedStore | None:
    """None where there is nothing to gain, or a stream has grown out of it."""
    place = streams[0].memory.stacks[0].place if len(streams) > 1 else None
    if place is None or not all(is_in(place.store, stream.memory) for stream in streams):
        return None
    own = any(one.policy.works_at_question_time and not one.policy.reprefills for one in streams)
    return None if own else place.store


def _with_question(
    number: int, stream: AbstractHermes, request: Mapping[str, Any], max_new_tokens: int
) -> _Speaker:
    ids = stream.processor.encode(stream.closing_prompt + request["prompt"])
    memory, _ = stream.kept.prepare(ids)
    room = stream._answering._room(memory, len(ids))
    return _Speaker(number, stream, ids, min(room, max_new_tokens))


def _speak(speakers: Sequence[_Speaker], store: SharedStore, choose: Choices) -> None:
    """Step by step until every answer has ended."""
    active, side_by_side = list(speakers), SideBySide(speakers[0].stream, store)
    while active:
        active, hidden = _read(active, store, side_by_side)
        head = active[0].stream.model.lm_head
        logits = head(hidden.to(head.weight.device))
        for speaker, token in zip(active, choose([s.number for s in active], logits), strict=True):
            speaker.say(token)
        active = [speaker for speaker in active if not speaker.has_ended]


def _read(
    speakers: Sequence[_Speaker], store: SharedStore, side_by_side: SideBySide
) -> tuple[list[_Speaker], Tensor]:
    """What is unread, and the (s, e) last hidden states; speakers in the order of these."""
    for speaker in speakers:
        speaker.stream.memory.reserve(len(speaker.unread))
    beside = [speaker for speaker in speakers if is_in(store, speaker.stream.memory)]
    alone = [speaker for speaker in speakers if speaker not in beside]
    hidden = [each.stream._answering.read(each.stream.memory, each.unread) for each in alone]
    if beside:
        memories = [speaker.stream.memory for speaker in beside]
        hidden.append(side_by_side.read(memories, [speaker.unread for speaker in beside]))
    return alone + beside, torch.cat(hidden)
