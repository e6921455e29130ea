"""The face: open, watch, ask - against the engine driven by hand."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import assert_same, contents, open_stream, random_frames, watch
from tqdm import tqdm

import hermes
from hermes import ContextLimitError
from inference import Answer, FrameError, Stream, ask_together, watch_together
from inference.answers.multiple_choice import format_mcqa_prompt
from inference.answers.prompts import Turn
from inference.face import stream as stream_file
from video import VideoError

ROOT = Path(__file__).resolve().parent.parent
KV_SIZE, CHUNK = 24, 8
FRAMES = random_frames(22)
OPTIONS = ["a cup", "a book", "a lamp"]


@pytest.fixture
def stream(base):
    return Stream(open_stream(base, kv_size=KV_SIZE, chunk_frames=CHUNK))


@pytest.fixture
def by_hand(base):
    """An engine that has watched `FRAMES` as a caller of the released names lets it."""
    engine = open_stream(base, kv_size=KV_SIZE, chunk_frames=CHUNK)
    watch(engine, FRAMES, CHUNK)
    return engine


FORMS = {
    "array": FRAMES,
    "channels first": FRAMES.transpose(0, 3, 1, 2),
    "tensor": torch.from_numpy(FRAMES),
    "list of arrays": list(FRAMES),
    "list of tensors": list(torch.from_numpy(FRAMES)),
    "iterator": FRAMES,
}


@pytest.mark.parametrize("form", FORMS)
def test_frames_are_watched_as_by_hand(base, form):
    stream = Stream(open_stream(base, kv_size=KV_SIZE, chunk_frames=CHUNK))
    assert (
        stream.watch(iter(FRAMES) if form == "iterator" else FORMS[form]) == stream.num_frames == 22
    )
    engine = open_stream(base, kv_size=KV_SIZE, chunk_frames=CHUNK)
    watch(engine, FRAMES, CHUNK)
    assert_same(contents(stream.engine), contents(engine))
    assert stream.num_tokens == engine.memory.num_prefix + KV_SIZE
    assert stream.num_bytes == engine.memory.num_bytes
    assert "22 frames, 22 s watched" in repr(stream)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "talk.npy"
    np.save(path, FRAMES)
    return path


@pytest.mark.parametrize("kind", [str, Path])
def test_a_video_is_watched_as_its_frames(stream, by_hand, video, kind):
    assert stream.watch(kind(video)) == 22
    assert_same(contents(stream.engine), contents(by_hand))


def test_a_part_of_a_video(stream, base, video):
    assert stream.watch(video, clip=(4, 10)) == 6
    engine = open_stream(base, kv_size=KV_SIZE)
    engine.encode_video_chunk(FRAMES[4:10], times_seconds=range(4, 10))
    engine.predict_and_compress()
    assert_same(contents(stream.engine), contents(engine))
    assert stream.end_seconds == 10
    stream.watch(video, clip=(12, 14))
    assert stream.end_seconds == 14, "parts of one video keep their times"


def test_time_never_runs_backwards(stream, video):
    seconds = []
    note = lambda stream: seconds.append(stream.end_seconds)  # noqa: E731
    stream.watch(video, on_chunk=note)
    stream.watch(video, clip=(2, 8), on_chunk=note)
    stream.watch(FRAMES[:3], on_chunk=note)
    stream.watch(FRAMES[:2], times_seconds=[40.0, 41.5], on_chunk=note)
    stream.watch(FRAMES[0], on_chunk=note)
    assert seconds == [8, 16, 22, 28, 31, 42.5, 43.5]
    for times in ([42.0], [50.0, 50.0], [float("nan")]):
        with pytest.raises(FrameError, match=r"ascend from above 42.5, where the stream stands"):
            stream.watch(FRAMES[: len(times)], times_seconds=times)
    assert stream.num_frames == 22 + 6 + 3 + 2 + 1


def test_a_saved_stream_keeps_its_clock(stream, tmp_path, video):
    stream.watch(video, clip=(4, 10))
    path = tmp_path / "saved.safetensors"
    stream.save(path)
    other = stream.new_stream()
    assert other.num_frames == 0
    other.load(path)
    assert (other.num_frames, other.end_seconds) == (6, 10)
    for each in (stream, other):
        each.watch(FRAMES[10:14])
    assert_same(contents(stream.engine), contents(other.engine))
    other.clear()
    assert (other.num_frames, other.end_seconds) == (0, 0)


def test_memory_is_at_its_budget_after_every_chunk(stream):
    held = []
    stream.watch(FRAMES, on_chunk=lambda stream: held.append(stream.engine.memory.num_visual))
    assert len(held) == 3 and max(held) <= KV_SIZE
    assert stream.watch(FRAMES[:0]) == 0


def test_a_forgotten_compression_is_made_up_for(base, by_hand):
    engine = open_stream(base, kv_size=KV_SIZE)
    for start in range(0, len(FRAMES), CHUNK):
        engine.encode_video_chunk(FRAMES[start : start + CHUNK])
        assert engine.memory.num_visual <= KV_SIZE + 4 * CHUNK
    engine.predict_and_compress()
    assert_same(contents(engine), contents(by_hand))


WRONG_SOURCES = [
    (None, {}, TypeError, "path of a video, or frames, got None"),
    (7, {}, TypeError, "path of a video, or frames, got 7"),
    (b"talk.mp4", {}, TypeError, "path of a video, or frames"),
    (FRAMES.astype(float), {}, FrameError, "must be uint8"),
    ([FRAMES[0], FRAMES[0][:30]], {}, FrameError, "must have one size"),
    (FRAMES, {"times_seconds": [1.0]}, FrameError, "1 times were given for 22 frames"),
    (FRAMES[:2], {"times_seconds": [2.0, 1.0]}, FrameError, "must be finite and ascend$"),
    (iter(FRAMES), {"times_seconds": [1.0]}, TypeError, "not with an iterable"),
    (FRAMES, {"clip": (0, 1)}, TypeError, "clip: for the path of a video"),
    ("talk.mp4", {"times_seconds": [1.0]}, TypeError, "brings its own times"),
    ("talk.mp4", {}, VideoError, "talk.mp4"),
]


@pytest.mark.parametrize(("source", "options", "error", "message"), WRONG_SOURCES)
def test_what_cannot_be_watched(stream, monkeypatch, tmp_path, source, options, error, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        stream.watch(source, **options)
    assert stream.num_frames == 0
    stream.watch(FRAMES[:4])


@pytest.mark.parametrize("num_frames", [CHUNK - 3, CHUNK, CHUNK + 2])
def test_what_came_before_an_error_is_watched(stream, num_frames):
    def camera():
        yield from FRAMES[:num_frames]
        raise OSError("unplugged")

    with pytest.raises(OSError, match="unplugged"):
        stream.watch(camera())
    assert stream.num_frames == num_frames


def test_the_bar_waits_two_seconds_and_can_be_switched_off(stream, monkeypatch):
    made = []
    monkeypatch.setattr(stream_file, "tqdm", lambda **given: made.append(given) or tqdm(**given))
    stream.watch(FRAMES)
    stream.watch(iter(FRAMES), progress=False)
    assert [(bar["total"], bar["delay"], bar["disable"]) for bar in made] == [
        (22, 2.0, None),
        (None, 2.0, True),
    ]


def test_an_open_question(stream, by_hand):
    stream.watch(FRAMES)
    before = contents(stream.engine)
    reply = stream.ask("What is this?", max_new_tokens=9)
    request = {"question": "What is this?", "prompt": by_hand.get_prompt("What is this?")}
    expected = by_hand.question_answering(request, max_new_tokens=9)
    assert reply == expected.strip() and isinstance(reply, str)
    assert (reply.letter, reply.option) == (None, None)
    assert stream.engine.conv_history == by_hand.conv_history == [Turn("What is this?", expected)]
    assert_same(before, contents(stream.engine))


def test_a_question_with_options_is_put_as_the_runner_puts_it(stream, by_hand):
    stream.watch(FRAMES)
    reply = stream.ask("Which?", options=OPTIONS)
    body = format_mcqa_prompt("Which?", OPTIONS)
    request = {
        "question": "Which?",
        "formatted_question": body,
        "prompt": by_hand.get_prompt(body, mc=True),
    }
    assert reply == by_hand.question_answering(request, max_new_tokens=16).strip()
    assert stream.engine.conv_history == by_hand.conv_history
    assert stream.engine.last_timing.num_new_tokens <= 16


@pytest.mark.parametrize(
    ("text", "letter", "option"),
    [("B) a book", "B", "a book"), (" C", "C", "a lamp"), ("D) x", "D", None), ("", "", None)],
)
def test_an_answer_says_which_option_it_means(text, letter, option):
    answer = Answer(text, OPTIONS)
    assert (answer, answer.letter, answer.option) == (text.strip(), letter, option)
    again = pickle.loads(pickle.dumps(answer))
    assert (again, again.letter, again.option) == (answer, letter, option)


def test_pieces_join_to_the_answer_and_can_be_stopped(stream):
    stream.watch(FRAMES)
    other = stream.new_stream()
    other.watch(FRAMES)
    whole = stream.ask("Which?", OPTIONS, temperature=1, seed=3)
    pieces = other.ask_stream("Which?", OPTIONS, temperature=1, seed=3)
    first = next(pieces)
    with pytest.raises(RuntimeError, match="still being streamed"):
        other.watch(FRAMES[:2])
    assert Answer(first + "".join(pieces)) == whole
    stopped = other.ask_stream("Which?")
    next(stopped)
    stopped.close()
    other.watch(FRAMES[:2])


WRONG_QUESTIONS = [
    (("?",), RuntimeError, r"nothing has been watched yet; call watch\("),
    ((3,), TypeError, "must be a text, got 3"),
    (("?", "AB"), TypeError, "options must be a list of texts, got 'AB'"),
    (("?", [1, 2]), TypeError, "options must be a list of texts"),
    (("?", []), ValueError, "expected 1 to 8 options, got 0"),
]


@pytest.mark.parametrize(("given", "error", "message"), WRONG_QUESTIONS)
@pytest.mark.parametrize("call", ["ask", "ask_stream"])
def test_what_cannot_be_asked(stream, call, given, error, message):
    with pytest.raises(error, match=message):
        getattr(stream, call)(*given)


def test_the_released_call_understands_a_text_and_a_question_without_prompt(by_hand):
    prompted = {"question": "Who?", "prompt": by_hand.get_prompt("Who?")}
    answers = [by_hand.new_stream() for _ in range(3)]
    for engine in answers:
        watch(engine, FRAMES, CHUNK)
    texts = {
        engine.question_answering(asked, 4)
        for engine, asked in zip(answers, ("Who?", {"question": "Who?"}, prompted), strict=True)
    }
    assert len(texts) == 1
    for asked in (None, {"prompt": "x"}, 3, {"question": 3}):
        with pytest.raises(TypeError, match="expected a question, or a mapping with 'question'"):
            by_hand.question_answering(asked)


def test_the_released_call_before_any_frame_reads_the_prompt_first(base):
    """As a benchmark's question at second 0 is asked."""
    bare, prompted = (open_stream(base, kv_size=KV_SIZE) for _ in range(2))
    prompted.encode_init_prompt()
    assert bare.question_answering("Who?", 4) == prompted.question_answering("Who?", 4)
    assert_same(contents(bare), contents(prompted))


def test_the_error_at_the_limit_advises_what_is_left_to_do(base):
    keeping = Stream(open_stream(base, policy="none", position_limit=200))
    with pytest.raises(ContextLimitError) as caught:
        keeping.watch(random_frames(400))
    assert "policy='hermes'" in str(caught.value) and "kv_size" not in str(caught.value)
    evicting = Stream(open_stream(base, position_limit=100))
    with pytest.raises(ContextLimitError) as caught:
        evicting.watch(random_frames(400))
    assert "lower kv_size" in str(caught.value) and "policy" not in str(caught.value)


def test_open_takes_a_policy_with_options(checkpoint):
    folder = checkpoint("llava")
    text = "two_speed:recent_share=0.3:reindex=eager:profile=paper"
    engine = hermes.open(folder, kv_size=KV_SIZE, device="cpu", policy=text).engine
    assert (engine.config.policy, engine.policy.options.recent_share) == ("two_speed", 0.3)
    assert (engine.config.reindex, engine.config.profile) == ("eager", "paper")
    with pytest.raises(ValueError, match=r"reindex given twice; leave one out"):
        hermes.open(folder, kv_size=KV_SIZE, policy="hermes:reindex=eager", reindex="lazy")
    with pytest.raises(ValueError, match="expected NAME:OPTION=VALUE"):
        hermes.open(folder, kv_size=KV_SIZE, policy="hermes:eager")
    with pytest.raises(ValueError, match="unknown policy 'best'"):
        hermes.open(folder, kv_size=KV_SIZE, policy="best:a=1")


def test_a_missing_budget_is_a_type_error(checkpoint):
    from inference import load_model
    from inference.llavaov_hermes import load_model as released

    for call in (hermes.open, load_model, released):
        with pytest.raises(TypeError, match="kv_size"):
            call(checkpoint("llava"))


IN_THE_WAY = {
    "inference.py": "import hermes\nhermes.open('nano', kv_size=8)\n",
    "inference/__init__.py": "import hermes\nhermes.open('nano', kv_size=8)\n",
    "video.py": "import hermes\nhermes.open('nano', kv_size=8).watch('talk.mp4')\n",
    "eval/__init__.py": "import video_qa.run_infer\n",
}


@pytest.mark.parametrize("name", IN_THE_WAY)
def test_a_file_of_the_users_in_the_way_is_named(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("raise SystemExit('the file in the way was run')\n")
    script = tmp_path / "script.py"
    script.write_text(f"import sys\nsys.path.insert(1, {str(ROOT)!r})\n{IN_THE_WAY[name]}")
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: ") and str(tmp_path / name) in last, done.stderr
    assert "another name" in last


def test_an_empty_folder_named_like_a_package_is_in_nobodys_way(tmp_path):
    (tmp_path / "eval").mkdir()
    script = tmp_path / "script.py"
    script.write_text(f"import sys\nsys.path.insert(1, {str(ROOT)!r})\nimport video_qa\n")
    subprocess.run([sys.executable, str(script)], cwd=tmp_path, check=True)


def test_everything_offered_exists():
    import inference

    for package in (hermes, inference):
        assert all(getattr(package, name) is not None for name in package.__all__)
        with pytest.raises(AttributeError, match="has no attribute 'wrong'"):
            package.wrong  # noqa: B018


def test_another_stream_may_have_other_settings(stream):
    other = stream.new_stream(policy="two_speed:recent_share=0.3", kv_size=40)
    assert other.engine.config.policy == "two_speed"
    assert (other.engine.policy.options.recent_share, other.engine.config.kv_size) == (0.3, 40)
    with pytest.raises(ValueError, match="unknown option recent_shar"):
        stream.new_stream(policy="two_speed:recent_shar=0.3")


def test_questions_to_several_streams(stream):
    streams = stream.new_streams(2)
    for number, one in enumerate(streams):
        one.watch(FRAMES[: 10 + 8 * number])
    alone = stream.new_stream()
    alone.watch(FRAMES[:18])
    open_answer, choice = ask_together(streams, ["?", "Which?"], [None, OPTIONS], max_new_tokens=9)
    expected = alone.ask("Which?", OPTIONS, max_new_tokens=9)
    assert (choice, choice.letter, choice.option) == (expected, expected.letter, expected.option)
    assert open_answer.letter is None and streams[0].engine.conv_history[-1].question == "?"
    with pytest.raises(RuntimeError, match="a stream has watched nothing yet"):
        ask_together([*streams, stream.new_stream()], ["?"] * 3)
    with pytest.raises(ValueError, match="options for 1 of 2 questions"):
        ask_together(streams, ["?", "?"], [OPTIONS])


def test_sources_watched_together(stream):
    """Arrays, generators and times; sources of different lengths."""
    streams, alone = stream.new_streams(3), stream.new_streams(3)
    times = [0.25 * number for number in range(18)]

    def sources():
        return [FRAMES[:18], (frame for frame in FRAMES[:5]), FRAMES[6:9]]

    assert watch_together(streams, sources(), [times, None, None]) == [18, 5, 3]
    for one, source, own in zip(alone, sources(), [times, None, None], strict=True):
        one.watch(source, times_seconds=own)
    for ours, theirs in zip(streams, alone, strict=True):
        assert ours.ask("?", max_new_tokens=6) == theirs.ask("?", max_new_tokens=6)
        assert (ours.num_tokens, ours.end_seconds) == (theirs.num_tokens, theirs.end_seconds)
    with pytest.raises(ValueError, match="2 sources for 3 streams"):
        watch_together(streams, sources()[:2])
    with pytest.raises(TypeError) as caught:
        watch_together(streams, [FRAMES, FRAMES, 5])
    assert caught.value.__notes__ == ["of stream 2"] and streams[0].num_frames == 18


def test_a_source_that_fails_among_others(stream):
    """What came before it is watched, by it and by the others."""
    streams, size = stream.new_streams(2), stream.engine.config.chunk_frames

    def failing():
        yield from FRAMES[: size + 1]
        raise OSError("the camera is gone")

    with pytest.raises(OSError, match="camera is gone") as caught:
        watch_together(streams, [FRAMES[: 3 * size], failing()])
    assert caught.value.__notes__ == ["of stream 1"]
    assert [one.num_frames for one in streams] == [min(3 * size, len(FRAMES)), size + 1]


def test_an_answer_to_a_stream_that_was_cleared_meanwhile(stream):
    stream.watch(random_frames(8))
    pieces = stream.ask_stream("?")
    stream.clear()
    with pytest.raises(RuntimeError, match="cleared before the answer began"):
        list(pieces)
    with pytest.raises(FrameError, match="one number per frame, got 5"):
        stream.watch(random_frames(8), times_seconds=5)


def test_a_wrong_policy_is_refused_before_the_weights_are_read(monkeypatch):
    monkeypatch.setattr("inference.checkpoints.loading._weights", None)
    with pytest.raises(ValueError, match=r"unknown option recent_shar .*for every policy: "):
        hermes.open("nano", kv_size=64, policy="two_speed:recent_shar=0.3")


def test_an_installation_older_than_its_files_is_named(monkeypatch):
    monkeypatch.setattr("hermes.imports.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"'inference' is nowhere.*install it again"):
        hermes.open("nano", kv_size=64)
