"""Several streams answer in one batch what each would answer alone."""

from __future__ import annotations

import pytest
import torch
from pretended_stream import stream_on_pretended
from tiny import TOLERANCE, assert_same, contents, largest_error, open_stream, random_frames, watch

from hermes import POLICIES
from hermes.store.shared_store import SharedStore
from inference import NonFiniteLogitsError, answer_together
from inference.answers.sampler import Sampler
from inference.together.beside import SideBySide, is_in
from inference.together.choice import Choices

ROOM = {"llava": -20, "qwen": 12}
"""Tokens left for text, so that the longest question fits and its answer does not."""
QUESTIONS = ["?", "What is there?", "Is it red, or is it blue?"]


def _watch(streams):
    """The first less than fits the budget, the last more."""
    for index, stream in enumerate(streams):
        watch(stream, random_frames(4 + 6 * index, seed=index))


def _several(base, policy, count=3, **settings):
    streams = open_stream(base, policy=policy, kv_size=24, **settings).new_streams(count)
    _watch(streams)
    return streams


def _alone(base, policy, max_new_tokens, **settings):
    streams = [open_stream(base, policy=policy, kv_size=24, **settings) for _ in QUESTIONS]
    _watch(streams)
    return [
        stream.question_answering(question, max_new_tokens)
        for stream, question in zip(streams, QUESTIONS, strict=True)
    ]


@pytest.fixture
def steps(monkeypatch):
    """Streams in each batch."""
    sizes = []
    original = SideBySide.read

    def counted(side_by_side, memories, texts):
        if max(map(len, texts)) == 1:
            sizes.append(len(memories))
        return original(side_by_side, memories, texts)

    monkeypatch.setattr(SideBySide, "read", counted)
    return sizes


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_the_same_answers_as_alone(base, policy, steps):
    streams = _several(base, policy)
    before = [contents(stream) for stream in streams]
    answers = answer_together(streams, QUESTIONS, 6)
    assert answers == _alone(base, policy, 6)
    for stream, held, question in zip(streams, before, QUESTIONS, strict=True):
        assert_same(contents(stream), held)
        assert stream.conv_history[-1].question == question
        stream.memory.check_integrity(stream.max_positions)
    kind = POLICIES[policy]
    assert bool(steps) == (kind.reprefills or not kind.works_at_question_time)


@pytest.mark.parametrize("lengths", [(1, 1, 1), (3, 9, 1)], ids=["token", "ragged"])
@pytest.mark.parametrize("family", ["llava", "qwen", "qwen3"])
def test_texts_side_by_side_give_the_hidden_states_of_each_alone(load, family, lengths):
    streams = open_stream(load(family), kv_size=200).new_streams(3)
    _watch(streams)
    texts = [torch.arange(5, 5 + length) for length in lengths]
    store = streams[0].memory.stacks[0].place.store
    for stream in streams:
        stream.read_text("some words", output="none")
    alone, after, again = [], [], []
    for stream, text in zip(streams, texts, strict=True):
        with stream.memory.scratch():
            alone.append(stream._answering.read(stream.memory, text)[-1])
            after.append(stream._answering.read(stream.memory, text[:1])[-1])
            again.append(stream._answering.read(stream.memory, text)[-1])
    memories = [stream.memory for stream in streams]
    side_by_side = SideBySide(streams[0], store)
    together = side_by_side.read(memories, texts)
    assert largest_error(together, torch.stack(alone)) < TOLERANCE
    together = side_by_side.read(memories, [text[:1] for text in texts])
    assert largest_error(together, torch.stack(after)) < TOLERANCE
    together = side_by_side.read([memories[2], memories[0]], [texts[2], texts[0]])
    assert largest_error(together, torch.stack([again[2], again[0]])) < TOLERANCE
    assert len({memory.num_tokens for memory in memories}) > 1, "ragged lengths are the point"


@pytest.mark.parametrize("penalty", [1.1, 1, 0.7])
def test_choices_in_a_batch_are_those_of_a_sampler_each(penalty):
    """Streams leave one after another."""
    generator = torch.Generator().manual_seed(0)
    logits = 1 + 0.05 * torch.randn(6, 3, 5, generator=generator)  # what was said decides
    batch, alone = Choices(3, 0, penalty, None), [Sampler(0, penalty) for _ in range(3)]
    for number, rows in enumerate(logits):
        here = [0, 1, 2] if number < 2 else [0, 2] if number < 4 else [2, 0]
        expected = [alone[one](rows[one]) for one in here]
        assert batch(here, rows[here]) == expected


def test_logits_that_are_not_finite_are_named():
    with pytest.raises(NonFiniteLogitsError, match="stream 2"):
        Choices(3, 0, 1.1, None)([0, 2], torch.tensor([[0.0, 1.0], [0.0, torch.inf]]))


def test_draws_with_a_seed_are_those_of_each_alone(base):
    streams, drawn = _several(base, "recent"), {"temperature": 0.8, "seed": 3}
    alone = _several(base, "recent")
    expected = [one.question_answering("?", 5, **drawn) for one in alone]
    assert answer_together(streams, ["?"] * 3, 5, **drawn) == expected


def test_streams_stop_at_their_own_time(base, steps, monkeypatch):
    """The second one ends at its first token, the third at its third."""
    streams = _several(base, "recent")
    stop = next(iter(streams[0].processor.stop_ids))
    ends = iter([{1}, {}, {2}, {}, {}, {}])

    def scripted(self, numbers, logits):
        ending = next(ends)
        return [stop if number in ending else 7 for number in numbers]

    monkeypatch.setattr(Choices, "__call__", scripted)
    answers = answer_together(streams, QUESTIONS, 6)
    assert steps == [2, 2, 1, 1, 1] and answers[1] == ""
    assert len(answers[0]) > len(answers[2])


def test_budgets_per_band_and_two_devices(base):
    weights = {"budget_weights": (0.5, 1.0, 2.0)}
    expected = _alone(base, "hermes", 12, **weights)
    assert answer_together(_several(base, "hermes", **weights), QUESTIONS, 12) == expected
    with stream_on_pretended(base, 2, policy="hermes", kv_size=24) as (engine, _):
        streams = engine.new_streams(3)
        _watch(streams)
        assert answer_together(streams, QUESTIONS, 12) == _alone(base, "hermes", 12)


def test_an_answer_that_outgrows_the_buffers_goes_on_alone(base, steps, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("inference.abstract_hermes.TEXT_RESERVE_TOKENS", ROOM[base.family])
        streams = _several(base, "recent")
    assert answer_together(streams, QUESTIONS, 12) == _alone(base, "recent", 12)
    assert len({stack.place is None for stream in streams for stack in stream.memory.stacks}) == 2


def test_an_error_leaves_every_memory_as_it_was(base, monkeypatch):
    streams = _several(base, "hermes")
    before = [contents(stream) for stream in streams]

    def fail(*_):
        raise RuntimeError("no step today")

    with monkeypatch.context() as patch:
        patch.setattr(SideBySide, "read", fail)
        with pytest.raises(RuntimeError, match="no step today"):
            answer_together(streams, QUESTIONS, 12)
    for stream, held in zip(streams, before, strict=True):
        assert_same(contents(stream), held)
        assert stream.conv_history == []
    assert answer_together(streams, QUESTIONS, 12) == _alone(base, "hermes", 12)


def test_streams_with_buffers_of_their_own_answer_in_turn(base, steps):
    streams = [open_stream(base, kv_size=24) for _ in QUESTIONS]
    _watch(streams)
    assert answer_together(streams, QUESTIONS, 12) == _alone(base, "hermes", 12)
    assert not steps


def test_bad_requests(base):
    streams = _several(base, "hermes", count=2)
    for given, questions in (([], ["?"]), (streams, ["?"]), ([streams[0]] * 2, ["?", "?"])):
        with pytest.raises(ValueError, match="one question for each of different streams"):
            answer_together(given, questions)
    with pytest.raises(ValueError, match="max_new_tokens must be at least 1"):
        answer_together(streams, ["?", "?"], 0)
    with pytest.raises(ValueError, match="num_streams must be at least 1"):
        streams[0].new_streams(0)
    store = SharedStore(1)
    shape = (2, 2, 8, 4)
    store.buffers(0, 0, shape, torch.float32, torch.device("cpu"))
    assert store.buffers(0, 0, (2, 2, 9, 4), torch.float32, torch.device("cpu")) is None
    with pytest.raises(ValueError, match="stream 1 of 1"):
        store.buffers(1, 0, shape, torch.float32, torch.device("cpu"))


def test_streams_that_are_not_alike_have_buffers_of_their_own(base, steps):
    one, other, third = open_stream(base, kv_size=24).new_streams(3)
    watch(one, random_frames(8, seed=0))
    other.kv_size = 60
    watch(other, random_frames(8, seed=1))
    assert third.memory.num_tokens == 0  # allocated before the size of a frame is known
    watch(third, random_frames(8, seed=2))
    assert {stack.place for stack in other.memory.stacks} == {None}
    alone = open_stream(base, kv_size=60)
    watch(alone, random_frames(8, seed=1))
    answers = answer_together([one, other, third], QUESTIONS, 6)
    assert answers[1] == alone.question_answering(QUESTIONS[1], 6)
    assert not steps


def _unlike(base):
    """One that remembers much, one that remembers little."""
    streams = open_stream(base, policy="recent", kv_size=24, chunk_frames=8).new_streams(2)
    watch(streams[0], random_frames(20))
    watch(streams[1], random_frames(2))
    return streams


def test_a_long_question_beside_a_full_memory(base):
    """Each has room for itself; together they would look beyond the buffers."""
    streams = _unlike(base)
    overhead = len(streams[1].processor.encode(streams[1].get_prompt("")))
    longest = streams[1].memory.capacity - streams[1].memory.num_tokens - overhead - 8
    questions = ["?", "y" * longest]
    alone = [one.question_answering(text, 6) for one, text in zip(streams, questions, strict=True)]
    for stream in streams:
        stream.conv_history.clear()
    assert answer_together(streams, questions, 6) == alone
    assert all(is_in(stream._place.store, stream.memory) for stream in streams)


def test_streams_answer_again_after_an_answer_that_was_not_finite(base):
    """What it left behind the tokens in use would stay under every mask."""
    streams = _unlike(base)
    expected = answer_together(streams, ["?", "?"], 6)
    weight = base.language_model.embed_tokens.weight.data
    before = weight.clone()
    weight.fill_(torch.nan)
    try:
        with pytest.raises(NonFiniteLogitsError):
            answer_together(streams, ["?", "y" * 40], 6)
    finally:
        weight.copy_(before)
    for stream in streams:
        stream.conv_history.clear()
    assert answer_together(streams, ["?", "?"], 6) == expected
