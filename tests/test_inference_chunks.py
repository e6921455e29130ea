"""Chunks of any size give the same memory; where every token came from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import ask, assert_same, contents, largest_error, open_stream, random_frames, watch

from inference import FrameError

NUM_FRAMES = 12
SIZES = ([12], [8, 4], [2] * 6, [4, 2, 6])


def _watched(base, sizes, **options):
    engine, start = open_stream(base, kv_size=500, **options), 0
    for size in sizes:
        engine.encode_video_chunk(random_frames(NUM_FRAMES)[start : start + size])
        engine.predict_and_compress()
        start += size
    return engine


@pytest.mark.parametrize("sizes", [*SIZES[1:], [1] * 12, [5, 7]], ids=str)
def test_llava_chunks_of_any_size_give_the_same_memory(load, sizes):
    one, other = (contents(_watched(load("llava"), chunks)) for chunks in (SIZES[0], sizes))
    for name in ("positions", "frame", "seconds", "patch", "weights", "next_position"):
        assert torch.equal(one[name], other[name]), name
    for name in ("keys", "values"):
        assert largest_error(one[name], other[name]) < 2e-5


@pytest.mark.parametrize("sizes", SIZES[1:], ids=str)
def test_qwen_chunks_give_the_same_tokens(load, sizes):
    """The released grid restarts on all three axes at every chunk, so positions, and with them
    what deeper layers compute, depend on the chunk size by definition. All else must not: origin
    of every token, and layer 0's un-rotated keys and values, which see no position."""
    one, other = (contents(_watched(load("qwen"), chunks)) for chunks in (SIZES[0], sizes))
    for name in ("frame", "seconds", "patch", "weights"):
        assert torch.equal(one[name], other[name]), name
    for name in ("keys", "values"):
        assert largest_error(one[name][0], other[name][0]) < 2e-5


def test_an_odd_qwen_chunk_repeats_its_last_frame(load):
    frames = random_frames(5)
    padded = np.concatenate((frames, frames[-1:]))
    streams = [open_stream(load("qwen"), kv_size=500) for _ in range(2)]
    for engine, given in zip(streams, (frames, padded), strict=True):
        engine.encode_video_chunk(given)
    held = [contents(engine) for engine in streams]
    assert_same(*held)
    assert [engine.total_processed_frames for engine in streams] == [5, 6]


def test_tokens_know_their_frame_time_and_place(base):
    engine = open_stream(base, kv_size=500, sample_fps=0.5)
    engine.encode_video_chunk(random_frames(4))
    engine.encode_video_chunk(random_frames(2), times_seconds=[100.0, 102.5])
    step = 1 if base.family == "llava" else 2
    held, prefix = contents(engine), engine.memory.num_prefix
    frames = np.repeat(np.arange(0, 6, step), 4)
    seconds = np.repeat([0.0, 2.0, 4.0, 6.0, 100.0, 102.5][::step], 4)
    for layer in range(engine.num_layers):
        assert np.array_equal(held["frame"][layer, prefix:], frames)
        assert np.array_equal(held["seconds"][layer, prefix:], seconds)
        assert np.array_equal(held["patch"][layer, prefix:], np.tile(range(4), 6 // step))
        assert (held["frame"][layer, :prefix] == -1).all()


def test_frames_may_come_as_tensors_channels_first_or_flipped(base):
    frames = random_frames(4)
    forms = [
        frames,
        torch.from_numpy(frames),
        frames.transpose(0, 3, 1, 2),
        np.ascontiguousarray(frames[..., ::-1])[..., ::-1],
    ]
    held = []
    for form in forms:
        engine = open_stream(base, kv_size=500)
        engine.encode_video_chunk(form)
        held.append(contents(engine))
    for other in held[1:]:
        assert_same(held[0], other)


WRONG_FRAMES = {
    "float": (np.zeros((2, 56, 56, 3), np.float32), "must be uint8"),
    "one frame": (np.zeros((56, 56, 3), np.uint8), r"got \(56, 56, 3\)"),
    "four channels": (np.zeros((2, 56, 56, 4), np.uint8), r"got \(2, 56, 56, 4\)"),
    "no pixels": (np.zeros((2, 0, 56, 3), np.uint8), r"got \(2, 0, 56, 3\)"),
}


@pytest.mark.parametrize(("frames", "message"), WRONG_FRAMES.values(), ids=WRONG_FRAMES)
def test_wrong_frames_are_refused(base, frames, message):
    engine = open_stream(base)
    engine.encode_video_chunk(random_frames(4))
    before = contents(engine)
    with pytest.raises(FrameError, match=message):
        engine.encode_video_chunk(frames)
    assert_same(before, contents(engine))


@pytest.mark.parametrize("given", ["counted", "list"])
def test_a_stream_of_days_keeps_thirtieths_of_a_second(base, given):
    engine = open_stream(base, sample_fps=30)
    step = 2 if base.family == "qwen" else 1
    first = engine.total_processed_frames = 30 * 86400 * 30 + 1
    expected = [(first + number) / 30 for number in range(4)]
    engine.encode_video_chunk(random_frames(4), expected if given == "list" else None)
    held = engine.memory.provenance.seconds[0, engine.memory.num_prefix : engine.memory.num_tokens]
    assert held.tolist() == np.repeat(expected[::step], 4).tolist()


def test_wrong_times_are_refused(base):
    engine = open_stream(base)
    with pytest.raises(FrameError, match="3 times were given for 4 frames"):
        engine.encode_video_chunk(random_frames(4), times_seconds=[0, 1, 2])
    assert engine.total_processed_frames == 0


def test_a_frame_larger_than_the_budget_is_refused(base):
    engine = open_stream(base, kv_size=3)
    with pytest.raises(FrameError, match=r"needs 4 visual tokens but kv_size is 3.*at least 4"):
        engine.encode_video_chunk(random_frames(2))


def test_elongated_qwen_frames_are_refused(load):
    engine = open_stream(load("qwen"))
    with pytest.raises(FrameError, match="200:1"):
        engine.encode_video_chunk(np.zeros((2, 2, 402, 3), np.uint8))


@pytest.mark.parametrize("before", ["nothing", "the runner's", "the release's"])
def test_buffers_are_made_for_the_first_chunk_and_stay(base, before, caplog):
    """Whatever was asked of the stream before it has seen a frame."""
    caplog.set_level("INFO", "hermes.memory")
    engine = open_stream(base, kv_size=24, chunk_frames=40)
    if before != "nothing":
        engine.clear_cache()
        engine.describe()
    if before == "the release's":
        engine.encode_init_prompt()
    engine.encode_video_chunk(random_frames(40))
    engine.predict_and_compress()
    (stack,) = engine.memory.stacks
    addresses = [buffer.data_ptr() for buffer in (stack.keys, stack.values, stack.rotated)]
    watch(engine, random_frames(80, seed=1), chunk_frames=40)
    ask(engine, "?" * 900)
    assert addresses == [b.data_ptr() for b in (stack.keys, stack.values, stack.rotated)]
    assert not [record for record in caplog.records if "memory grows" in record.message]
