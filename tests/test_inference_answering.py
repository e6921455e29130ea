"""Answering leaves no trace; streaming, stopping, interrupting."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import ask, assert_same, contents, open_stream, random_frames, watch

from inference.answers.cleanup import clean_up, settled
from inference.answers.timing import AnswerTiming, Stopwatch
from inference.errors import DeviceMemoryError, NonFiniteLogitsError


@pytest.fixture
def engine(base_any):
    stream = open_stream(base_any, kv_size=24)
    watch(stream, random_frames(24))
    return stream


def _asked(engine, question: str = "?") -> dict[str, str]:
    return {"question": question, "prompt": engine.get_prompt(question)}


def test_asking_twice_gives_the_same_answer_and_leaves_no_trace(engine):
    before = contents(engine)
    first = ask(engine, "What is that?", max_new_tokens=8)
    assert_same(before, contents(engine))
    assert ask(engine, "What is that?", max_new_tokens=8) == first
    assert_same(before, contents(engine))
    assert first


def test_an_answer_does_not_change_what_is_remembered_later(base_any):
    """Only the dialogue history may (it steers the guidance); switched off, nothing does."""
    runs = []
    for asks in (False, True):
        stream = open_stream(base_any, kv_size=24, use_history=False)
        for start in range(0, 32, 8):
            watch(stream, random_frames(32)[start : start + 8])
            if asks:
                ask(stream, "a long question " * 5)
        runs.append(contents(stream))
    assert_same(*runs)


def test_the_stream_of_pieces_is_the_answer(engine):
    pieces = list(engine.stream_answer(_asked(engine), max_new_tokens=10))
    assert len(pieces) > 2
    assert "".join(pieces) == ask(engine, max_new_tokens=10)
    assert engine.conv_history[0] == engine.conv_history[1]


def _scripted(engine, monkeypatch, text: str) -> None:
    """The model now says `text`, whatever it is asked."""
    ids = iter([*engine.processor.encode(text).tolist(), engine.processor.tokenizer.eos_token_id])

    def logits(hidden: torch.Tensor) -> torch.Tensor:
        scores = torch.zeros(len(engine.processor.tokenizer))
        scores[next(ids)] = 1
        return scores

    monkeypatch.setattr(engine._answering, "logits", logits)


@pytest.mark.parametrize(
    "text", ["Yes , it is n't .", "I 've it ' s", "a ' b ?", "so . ", " x", "  two  ", "a  ' ve"]
)
def test_streamed_text_survives_the_clean_up_of_spaces(engine, monkeypatch, text):
    _scripted(engine, monkeypatch, text)
    pieces = list(engine.stream_answer(_asked(engine), max_new_tokens=50))
    assert "".join(pieces) == _clean(text)
    assert engine.conv_history[-1].answer == _clean(text)


def _clean(text: str) -> str:
    """The clean-up rule of the transformers library."""
    for old in (" .", " ?", " !", " ,"):
        text = text.replace(old, old.strip())
    text = text.replace(" ' ", "'")
    for old in (" n't", " 'm", " 's", " 've", " 're"):
        text = text.replace(old, old.strip())
    return text


_PIECES = st.sampled_from([*"ab .,'", " ' ", " n't", " 'm", " 've", "  ", "word", "\ufffd"])


@settings(max_examples=600, deadline=None)
@given(st.lists(_PIECES, max_size=9).map("".join))
def test_settled_text_is_never_taken_back(text):
    final = _clean(text)
    assert clean_up(text) == final
    for end in range(len(text) + 1):
        assert final.startswith(settled(text[:end]))


def test_settled_text_comes_soon():
    """At most the last word and what may still join it is held back."""
    assert settled("It is a dog") == "It is a dog"
    assert settled("It is a d") == "It is a"
    assert settled("It is .") == "It is"
    assert settled("a  ' ") == "a"
    assert settled("half \ufffd") == "half"


def test_an_answer_keeps_the_spaces_around_it(engine, monkeypatch):
    _scripted(engine, monkeypatch, " (CGI) cat \n")
    assert ask(engine, max_new_tokens=50) == " (CGI) cat \n"
    assert engine.conv_history[-1].answer == " (CGI) cat \n"
    assert "Answer:  (CGcat \n. Sum" in engine.predict_next_question()[1]


def test_stop_token_ends_the_answer(engine, monkeypatch):
    _scripted(engine, monkeypatch, "abc")
    assert ask(engine, max_new_tokens=50) == "abc"
    assert engine.last_timing.num_new_tokens == 4, "the stop token counts"


def test_the_limit_of_new_tokens_ends_the_answer(engine, monkeypatch):
    _scripted(engine, monkeypatch, "abcdef")
    assert ask(engine, max_new_tokens=3) == "abc"


def test_an_immediate_stop_is_an_empty_answer(engine, monkeypatch):
    _scripted(engine, monkeypatch, "")
    assert ask(engine) == ""
    assert engine.last_timing.num_new_tokens == 1
    assert engine.last_timing.first_token_seconds > 0


def test_closing_early_leaves_no_trace_and_no_turn(engine):
    before = contents(engine)
    answer = engine.stream_answer(_asked(engine), max_new_tokens=10)
    next(answer)
    answer.close()
    assert_same(before, contents(engine))
    assert engine.conv_history == []
    watch(engine, random_frames(8, seed=9))


def test_closing_early_leaves_the_times_that_are_known(engine):
    ask(engine, max_new_tokens=2)
    before = engine.last_timing
    answer = engine.stream_answer(_asked(engine), max_new_tokens=50)
    next(answer)
    assert engine.last_timing is None, "not those of the answer before"
    answer.close()
    timing = engine.last_timing
    assert timing is not before
    assert 1 <= timing.num_new_tokens < 50
    assert 0 < timing.prefill_seconds <= timing.first_token_seconds


def test_the_time_of_a_consumer_is_not_that_of_a_token(engine, monkeypatch):
    """A clock that only moves while the consumer works, and a little at every reading."""
    now = [0.0]

    def tick() -> float:
        now[0] += 1e-6
        return now[0]

    monkeypatch.setattr("inference.answers.timing.time.perf_counter", tick)
    _scripted(engine, monkeypatch, "many words come")
    for _ in engine.stream_answer(_asked(engine), max_new_tokens=50):
        now[0] += 100
    assert engine.last_timing.num_new_tokens == 16
    assert 0 < engine.last_timing.per_token_seconds < 1e-3


def test_a_seed_repeats_the_draws_of_an_answer(engine):
    drawn = [
        engine.question_answering(_asked(engine), 12, temperature=5.0, seed=seed)
        for seed in (3, 3, 4)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_logits_that_are_not_finite_are_no_answer(engine, monkeypatch):
    before = contents(engine)
    layer = engine.decoder.layers[-1]
    original = layer.finish
    monkeypatch.setattr(layer, "finish", lambda *given: original(*given) * torch.inf)
    with pytest.raises(NonFiniteLogitsError, match=r'token 1 .*dtype="bfloat16"'):
        ask(engine)
    monkeypatch.undo()
    assert_same(before, contents(engine))
    assert engine.conv_history == []


FULL = {
    "watching 4 frames": lambda engine: engine.encode_video_chunk(random_frames(4, seed=9)),
    "scoring the memory": lambda engine: engine.predict_and_compress(),
    "answering": ask,
}


@pytest.mark.parametrize(("doing", "act"), FULL.items(), ids=FULL)
def test_a_full_device_names_the_settings_and_leaves_the_memory(engine, doing, act, monkeypatch):
    if doing == "scoring the memory":
        engine.encode_video_chunk(random_frames(4, seed=9))
    before, frames = contents(engine), engine.total_processed_frames

    def refuse(hidden):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(engine.decoder.layers[4], "heads", refuse)
    with pytest.raises(DeviceMemoryError) as caught:
        act(engine)
    monkeypatch.undo()
    message = str(caught.value)
    assert f"while {doing} (kv_size 24, chunk_frames 16" in message
    assert all(name in message for name in ("max_pixels", "dtype", "Tried to allocate 2 GiB"))
    assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)
    assert_same(before, contents(engine))
    assert engine.total_processed_frames == frames
    act(engine)
    engine.predict_and_compress()
    engine.memory.check_integrity()


def test_an_exception_while_decoding_leaves_no_trace(engine, monkeypatch):
    before = contents(engine)
    original, calls = engine._answering.logits, []

    def failing(hidden):
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("out of memory")
        return original(hidden)

    monkeypatch.setattr(engine._answering, "logits", failing)
    with pytest.raises(RuntimeError, match="out of memory"):
        ask(engine, max_new_tokens=10)
    assert_same(before, contents(engine))
    monkeypatch.undo()
    assert ask(engine)


INTERRUPTIONS = {
    "watch": lambda engine: engine.encode_video_chunk(random_frames(2)),
    "ask": ask,
    "clear": lambda engine: engine.clear_cache(),
    "init prompt": lambda engine: engine.encode_init_prompt(),
}


@pytest.mark.parametrize("interrupt", INTERRUPTIONS.values(), ids=INTERRUPTIONS)
def test_interrupting_a_streamed_answer_is_refused(engine, interrupt):
    before = contents(engine)
    answer = engine.stream_answer(_asked(engine), max_new_tokens=10)
    first = next(answer)
    with pytest.raises(RuntimeError, match="still being streamed"):
        interrupt(engine)
    rest = "".join(answer)
    assert_same(before, contents(engine))
    assert first + rest == ask(engine, max_new_tokens=10)


@pytest.mark.parametrize(
    ("given", "message"),
    [({"max_new_tokens": 0}, "max_new_tokens"), ({"temperature": -1}, "temperature")],
)
def test_senseless_decoding_options_are_refused(engine, given, message):
    with pytest.raises(ValueError, match=message):
        engine.question_answering(_asked(engine), **given)
    assert ask(engine)


def test_timing_is_complete_and_plausible(engine):
    ask(engine, max_new_tokens=6)
    timing = engine.last_timing
    assert isinstance(timing, AnswerTiming)
    assert 0 < timing.prefill_seconds <= timing.first_token_seconds
    assert timing.per_token_seconds > 0
    assert timing.compression_seconds > 0
    watch_hand = Stopwatch(engine.device)
    assert 0 <= watch_hand.seconds() <= watch_hand.seconds()
    watch_hand.restart()
    assert watch_hand.seconds() >= 0


def test_a_gpu_stopwatch_waits_for_the_device(monkeypatch):
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    Stopwatch(torch.device("cuda:1")).seconds()
    assert waited == [torch.device("cuda:1")] * 2
