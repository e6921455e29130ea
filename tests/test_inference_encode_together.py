"""Several streams read their chunks in one batch, and remember what each would remember alone."""

from __future__ import annotations

import pytest
from pretended_stream import CHUNK_FRAMES, KV_SIZES, Cost, stream_on_pretended
from tiny import TOLERANCE, ask, assert_same, contents, largest_error, open_stream, random_frames

from inference import FrameError, answer_together, encode_together
from inference.together import watching

COUNTS = [(8, 3, 0), (5, 8, 6), (8, 8, 7), (0, 2, 8)]
"""Frames that each of three streams is given, round by round."""
SIDES = {"llava": (56, 56, 56), "qwen": (56, 56, 84), "qwen3": (64, 64, 96)}
"""Of the frames of each stream, in pixels."""
POLICIES = ["hermes", "live_vlm", "two_speed"]


@pytest.fixture(params=["llava", "qwen", "qwen3"])
def base(request, load):
    return load(request.param)


def _streams(base, policies, **settings):
    kv_size = max(KV_SIZES.get(base.family, 24), 24)
    first = open_stream(base, policy=policies[0], kv_size=kv_size, **settings)
    return [first.new_stream(policy=policy) for policy in policies]


def _rounds(base):
    """Frames and times of every stream, round by round."""
    ends = [0, 0, 0]
    for number, counts in enumerate(COUNTS):
        chunks, times = [], []
        for index, (count, side) in enumerate(zip(counts, SIDES[base.family], strict=True)):
            chunks.append(random_frames(count, seed=10 * number + index, side=side))
            times.append([ends[index] + 0.5 * frame for frame in range(count)] if index else None)
            ends[index] += count
        yield chunks, times


def _watch_alone(streams, chunks, times):
    for stream, frames, own in zip(streams, chunks, times, strict=True):
        stream.encode_video_chunk(frames, own)


def _compress(streams):
    for stream in streams:
        stream.predict_and_compress()


def _assert_alike(stream, alone):
    if not alone.total_processed_frames:
        assert not stream.total_processed_frames
        return
    ours, theirs = contents(stream), contents(alone)
    for name in ("keys", "values", "rotated"):
        assert largest_error(ours.pop(name), theirs.pop(name)) < TOLERANCE, name
    assert_same(ours, theirs)
    assert stream.next_seconds == alone.next_seconds
    stream.memory.check_integrity(stream.max_positions)


UNLIKE = [{"reindex": "eager"}, {"budget_weights": (0.5, 1.0, 2.0)}, {"probe": "exact"}]
"""Of three streams under `hermes`."""


@pytest.mark.parametrize("policies", [["hermes"] * 3, POLICIES], ids=["hermes", "others"])
def test_the_same_memory_and_answers_as_alone(base, policies):
    streams, alone = _streams(base, policies), _streams(base, policies)
    if policies is not POLICIES:
        streams, alone = (
            [each.new_stream(**named) for each, named in zip(several, UNLIKE, strict=True)]
            for several in (streams, alone)
        )
    compressed = 0
    for chunks, times in _rounds(base):
        encode_together(streams, chunks, times)
        _watch_alone(alone, chunks, times)
        for ours, theirs in zip(streams, alone, strict=True):
            _assert_alike(ours, theirs)
        _compress(streams)
        _compress(alone)
        compressed += sum(stream.last_compression.kept is not None for stream in streams)
    for ours, theirs in zip(streams, alone, strict=True):
        _assert_alike(ours, theirs)
        assert ask(ours) == ask(theirs)
    assert 0 < compressed < 3 * len(COUNTS), "some compress, some do not"


def test_frames_of_one_size_pass_the_tower_once(base, monkeypatch):
    sizes = []
    original = type(base).see

    def counted(stream, frames):
        sizes.append((len(frames), frames.shape[1]))
        return original(stream, frames)

    monkeypatch.setattr(type(base), "see", counted)
    streams = _streams(base, ["hermes", "last_frames", "hermes"])
    chunks = [random_frames(count, seed=count) for count in (3, 4, 5)]
    encode_together(streams, chunks)
    assert sizes == [(12 if base.family == "llava" else 14, 56)]
    streams = _streams(base, ["hermes"] * 3)
    sizes.clear()
    encode_together(streams, chunks, seen=[None, base.encode_features(chunks[1]), None])
    assert [count for count, _ in sizes] == ([4, 8] if base.family == "llava" else [4, 10])


@pytest.mark.parametrize("policy", ["last_frames", "blank_frames"])
def test_frames_that_are_read_afresh_pass_the_tower_once(base, policy, monkeypatch):
    """Black ones, where the policy is blind, and not what was watched besides."""
    streams, passed = _streams(base, [policy] * 2), []
    original = type(base).see

    def counted(self, frames):
        passed.append(len(frames))
        return original(self, frames)

    monkeypatch.setattr(type(base), "see", counted)
    for number in range(2):
        passed.clear()  # the first chunk of a stream may tell the size of frames besides
        side = SIDES[base.family][0]
        chunks = [random_frames(4, seed=number + index, side=side) for index in range(2)]
        encode_together(streams, chunks)
    assert sum(passed) == 2 * 4


def _assert_untouched(streams, before):
    for stream, held in zip(streams, before, strict=True):
        assert_same(contents(stream), held)


@pytest.mark.parametrize("begun", [True, False])
def test_an_error_leaves_every_memory_as_it_was(base, begun, monkeypatch):
    """In the frames of one stream, and in the middle of the pass."""
    streams, alone = _streams(base, POLICIES), _streams(base, POLICIES)
    chunks = [random_frames(6, seed=seed) for seed in range(3)]
    for each in streams + alone if begun else []:
        each.encode_video_chunk(random_frames(8, seed=7))
        each.predict_and_compress()
    before = [contents(stream) for stream in streams] if begun else None
    late = [None, None, [0.0]]
    for given, times in (([*chunks[:2], chunks[2].astype("float32")], None), (chunks, late)):
        with pytest.raises(FrameError) as caught:
            encode_together(streams, given, times)
        assert caught.value.__notes__ == ["of stream 2"]
        assert begun or {stream.memory.num_tokens for stream in streams} == {0}
    project = streams[0].decoder.project

    def fail(index, hidden):
        if index == 1:
            raise RuntimeError("no layer today")
        return project(index, hidden)

    with monkeypatch.context() as patch:
        patch.setattr(streams[0].decoder, "project", fail)
        with pytest.raises(RuntimeError, match="no layer today"):
            encode_together(streams, chunks)
    if begun:
        _assert_untouched(streams, before)
    assert [stream.total_processed_frames for stream in streams] == [8 * begun] * 3
    encode_together(streams, chunks)
    _watch_alone(alone, chunks, [None] * 3)
    for ours, theirs in zip(streams, alone, strict=True):
        _assert_alike(ours, theirs)


def test_the_error_says_who_has_advanced(base):
    """Too many tokens for one of three: it re-prefills and advances after the batch."""
    streams = _streams(base, ["hermes", "last_frames", "recent"])
    side = SIDES[base.family][0]
    for stream in streams:
        stream.encode_video_chunk(random_frames(4, side=side))
        stream.predict_and_compress()
    chunks = [random_frames(4, side=side), random_frames(4, side=2 * side), random_frames(4)]
    with pytest.raises(FrameError, match="needs frames of one size") as caught:
        encode_together(streams, chunks)
    assert caught.value.__notes__ == [
        "of stream 1",
        "streams that have advanced nevertheless: 0, 2",
    ]
    assert [stream.total_processed_frames for stream in streams] == [8, 4, 8]


def test_streams_on_other_weights_advance_in_turn(load, monkeypatch):
    monkeypatch.setattr(watching, "read_together", None)
    streams = [open_stream(load("llava")), open_stream(load("qwen"))]
    encode_together(streams, [random_frames(4), random_frames(4)])
    assert [stream.total_processed_frames for stream in streams] == [4, 4]


def test_bad_requests(base):
    streams = _streams(base, ["hermes"] * 2)
    frames = random_frames(2)
    for several, chunks in ((streams, [frames]), ([streams[0]] * 2, [frames] * 2)):
        with pytest.raises(ValueError, match=r"one chunk .* for each of different streams"):
            encode_together(several, chunks)
    with pytest.raises(ValueError, match=r"one chunk .* for each of different streams"):
        encode_together(streams, [frames] * 2, [None])


@pytest.mark.parametrize(("family", "policy"), list(zip(SIDES, POLICIES, strict=True)))
def test_a_batch_waits_and_copies_no_more_than_its_streams_alone(load, family, policy):
    """On a GPU that does not exist; once something leaves."""
    costs, asked = {}, {}
    for number in (1, 3):
        with stream_on_pretended(load(family), 1, policy=policy) as (engine, traffic):
            streams = engine.new_streams(number)
            for seed in range(2):
                traffic.clear()
                count = CHUNK_FRAMES[family]
                chunks = [random_frames(count, seed=seed + index) for index in range(number)]
                encode_together(streams, chunks)
                _compress(streams)
            assert streams[-1].last_compression.kept is not None
            costs[number] = Cost.of(traffic)
            traffic.clear()
            answer_together(streams, ["?"] * number, 4)
            asked[number] = Cost.of(traffic)
    assert costs[3].waits <= 3 * costs[1].waits and costs[3].copies <= 3 * costs[1].copies
    assert costs[3].clock_waits <= 3 * costs[1].clock_waits
    assert costs[3].operators < 2.6 * costs[1].operators
    assert asked[3].waits == asked[1].waits + 2, "where each stream stands, then once per token"
    assert asked[3].copies <= 3 * asked[1].copies
    assert asked[3].operators < 1.2 * asked[1].operators
