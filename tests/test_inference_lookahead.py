"""Chunks seen ahead of their turn: the same stream bit for bit, on two CUDA streams that do not
exist, without a wait of the host and without a race.
"""

from __future__ import annotations

from contextlib import contextmanager
from itertools import pairwise
from operator import itemgetter

import numpy as np
import pytest
import torch
from pretended_device import pretended_devices
from pretended_stream import CHUNK_FRAMES, kv_size_of, stream_on_pretended
from pretended_streams import PretendedStream, StreamRace, Streams
from tiny import ask, assert_same, contents, largest_error, open_stream, random_frames

from inference import load_model
from inference.errors import FrameError
from inference.face.stream import Stream
from inference.vision.frames import _per_channel
from inference.vision.lookahead import Lookahead, StreamLookahead

NUM_CHUNKS = 4
KV_SIZE = 16


def chunks_of(engine, count=NUM_CHUNKS):
    """Chunks of random frames, and one of fewer frames at the end."""
    size = CHUNK_FRAMES[engine.family]
    whole = [random_frames(size, seed=seed) for seed in range(count)]
    return [*whole, random_frames(size - 1, seed=count)]


def read(engine, chunks, traffic=None, lookahead=None, is_ready=lambda: True):
    """Watch as `Stream.watch` does; which chunks had been seen ahead, waits of each."""
    seen_ahead, waits = [], []
    lookahead = lookahead or engine.lookahead
    for (frames,), seen in lookahead.over(
        [(chunk,) for chunk in chunks], itemgetter(0), is_ready, engine.look
    ):
        seen_ahead.append(seen is not None)
        engine.encode_video_chunk(frames, seen=seen)
        engine.predict_and_compress()
        if traffic:
            waits.append(sum(n for (kind, _), n in traffic.waits.items() if kind != "synchronize"))
            traffic.waits.clear()
    return seen_ahead, waits


@contextmanager
def two_streams(base, **options):
    """A stream on one device; that clocks make the host wait orders nothing."""
    with stream_on_pretended(base, 1, **options) as (engine, traffic):
        traffic.streams.synchronized = lambda: None
        yield engine, traffic


def shown(engine):
    return ask(engine, max_new_tokens=3), contents(engine)


@pytest.fixture
def expected(base):
    """What a stream on the CPU holds that sees every chunk at its turn."""
    engine = open_stream(base, kv_size=kv_size_of(base))
    for frames in chunks_of(engine):
        engine.encode_video_chunk(frames)
        engine.predict_and_compress()
    return shown(engine)


@pytest.mark.parametrize("family", ["llava", "qwen", "qwen3"])
def test_the_stream_is_the_same_and_nobody_waits(base, expected):
    with two_streams(base) as (engine, traffic):
        assert isinstance(engine.lookahead, StreamLookahead)
        seen_ahead, waits = read(engine, chunks_of(engine), traffic)
        assert not any(stream == "main" for stream, _ in traffic.streams.foreign)
        answer, held = shown(engine)
    assert seen_ahead == [False, False, *[True] * (NUM_CHUNKS - 2), False]
    assert sum(waits) == 0
    assert answer == expected[0]
    assert_same(held, expected[1])


def test_frames_travel_by_themselves(base):
    """On either stream, in pinned memory, once per chunk."""
    with two_streams(base) as (engine, traffic):
        chunks = chunks_of(engine)
        read(engine, chunks, traffic)
    uploads = {at_once: n for (line, at_once), n in traffic.uploads.items() if "vision" in line}
    assert uploads.get(True) == len(chunks)


def test_the_next_chunk_is_issued_before_the_present_one_is_read(base):
    """On the second stream, behind what was queued before; the decoder waits for its own chunk."""
    with two_streams(base) as (engine, traffic):
        own, begun = engine.decoder.forward, []
        engine.decoder.forward = lambda *given, **named: (
            begun.append(len(traffic.streams.log)) or own(*given, **named)
        )
        read(engine, chunks_of(engine))
        log = traffic.streams.log
    reads = [place for place in begun if len(begun) > 1][-len(chunks_of(engine)) :]
    vision = [place for place, (_, stream) in enumerate(log) if stream == "side 1"]
    assert not [place for place in vision if place < reads[0]], "chunk 0 finds no tables yet"
    for before, after in pairwise(reads[1:-2]):
        issued = [log[place] for place in vision if place < before]
        assert issued[-1] == ("record", "side 1"), "chunk k + 1 is whole before chunk k is read"
        between = [kind for kind, stream in log[before:after] if stream == "side 1"]
        assert between[0] == "wait", "behind what has been queued"
        assert ("wait", "main") in log[before:after], "the decoder waits for the tower"


@pytest.mark.parametrize("stream", ["main", "side 1"])
def test_a_stream_that_does_not_wait_is_seen(base, stream, monkeypatch):
    """The decoder for the features, or the tower for tables that were made for the chunk before."""
    _per_channel.cache_clear()
    own = PretendedStream.wait_event
    monkeypatch.setattr(
        PretendedStream,
        "wait_event",
        lambda self, event: None if self.name == stream else own(self, event),
    )
    with two_streams(base) as (engine, _), pytest.raises(StreamRace):
        read(engine, chunks_of(engine))


def test_features_whose_memory_could_be_given_away_are_seen(base, monkeypatch):
    monkeypatch.setattr(Streams, "recorded", lambda *_: None)
    with two_streams(base) as (engine, traffic):
        read(engine, chunks_of(engine))
        assert any(stream == "main" for stream, _ in traffic.streams.foreign)


def test_on_the_cpu_and_on_several_devices_nothing_is_seen_ahead(base, expected):
    engine = open_stream(base, kv_size=KV_SIZE)
    assert type(engine.lookahead) is Lookahead
    assert not any(read(engine, chunks_of(engine))[0])
    assert_same(shown(engine)[1], expected[1])
    with stream_on_pretended(base, 2) as (spread, _):
        assert type(spread.lookahead) is Lookahead


def test_a_chunk_that_has_still_to_come_is_not_waited_for(base, expected):
    taken = []

    def live(engine):
        for number, frames in enumerate(chunks_of(engine)):
            taken.append((number, engine.total_processed_frames))
            yield frames

    with two_streams(base) as (engine, _):
        size = CHUNK_FRAMES[engine.family]
        frames = (frame for chunk in live(engine) for frame in chunk)
        settings = open_stream(base, kv_size=KV_SIZE, chunk_frames=size).config
        engine.adopt(settings)
        Stream(engine).watch(frames, progress=False)
        assert taken == [(number, number * size) for number in range(NUM_CHUNKS + 1)]
        assert_same(contents(engine), expected[1])


class Breaks(Exception):
    pass


def test_an_error_of_the_next_chunk_does_not_cost_this_one(base):
    """Neither of the source nor of the tower; both come at their turn."""
    with two_streams(base) as (engine, _):
        size = CHUNK_FRAMES[engine.family]

        def failing():
            yield from chunks_of(engine)[:3]
            raise Breaks("the file is damaged")

        with pytest.raises(Breaks):
            for frames, seen in engine.lookahead.over(
                failing(), lambda frames: frames, lambda: True, engine.look
            ):
                engine.encode_video_chunk(frames, seen=seen)
                engine.predict_and_compress()
        assert engine.total_processed_frames == 3 * size
        bad = torch.zeros(chunks_of(engine)[0].shape)  # not uint8
        with pytest.raises(FrameError, match="uint8"):
            read(engine, [*chunks_of(engine)[:2], bad])
        assert engine.total_processed_frames == 5 * size


def test_questions_between_chunks_see_what_has_been_watched(base):
    """`on_chunk` comes while the next chunk is on its way."""

    def answers(engine):
        size = CHUNK_FRAMES[engine.family]
        engine.adopt(open_stream(base, kv_size=KV_SIZE, chunk_frames=size).config)
        found, frames = [], np.concatenate(chunks_of(engine, 3))
        Stream(engine).watch(
            frames,
            progress=False,
            on_chunk=lambda s: found.append((s.num_frames, str(s.ask("?", max_new_tokens=2)))),
        )
        return found, contents(engine)

    expected = answers(open_stream(base, kv_size=KV_SIZE))
    with two_streams(base) as (engine, _):
        seen = answers(engine)
    assert seen[0] == expected[0]
    assert_same(seen[1], expected[1])


def test_another_frame_size_waits_for_its_turn(base):
    """The tower makes tables for it, which belong to the stream that stays."""
    sizes = [8, 8, 8, 12, 12, 12, 8]

    def frames_of(engine):
        count = CHUNK_FRAMES[engine.family]
        side = random_frames(1).shape[1]
        return [random_frames(count, seed=i, side=side * s // 8) for i, s in enumerate(sizes)]

    plain = open_stream(base, kv_size=64, policy="recent")
    read(plain, frames_of(plain))
    with two_streams(base, kv_size=64, policy="recent") as (engine, traffic):
        seen_ahead, _ = read(engine, frames_of(engine))
        assert not any(stream == "main" for stream, _ in traffic.streams.foreign)
        held = contents(engine)
    assert seen_ahead == [False, False, True, False, False, True, False]
    assert_same(held, contents(plain))


@pytest.mark.parametrize("cached", [True, False])
def test_frames_that_are_kept_are_seen_if_features_are(base, cached):
    options = {"policy": "last_frames", "policy_options": {"cache_features": cached}}
    plain = open_stream(base, kv_size=KV_SIZE, **options)
    read(plain, chunks_of(plain))
    with two_streams(base, **options) as (engine, _):
        seen_ahead, _ = read(engine, chunks_of(engine))
        answer = ask(engine, max_new_tokens=3)
    assert any(seen_ahead) == cached
    assert answer == ask(plain, max_new_tokens=3)


def test_closing_in_the_middle_closes_the_source(base):
    closed = []

    def source(engine):
        try:
            yield from chunks_of(engine)
        finally:
            closed.append(True)

    with two_streams(base) as (engine, _):
        chunks = source(engine)
        ahead = engine.lookahead.over(chunks, lambda frames: frames, lambda: True, engine.look)
        for _, (frames, seen) in zip(range(3), ahead, strict=False):
            engine.encode_video_chunk(frames, seen=seen)
        ahead.close()
        chunks.close()
    assert closed == [True]


def test_pretended_streams_see_races_only_where_there_are_any():
    with pretended_devices(1):
        side, main = torch.cuda.Stream(), torch.cuda.current_stream()
        x = torch.ones(3, device="cuda")
        side.wait_stream(main)
        with torch.cuda.stream(side):
            y = x + 1
            assert torch.cuda.current_stream() is side
        with pytest.raises(StreamRace):
            y.sum()
        x.sum()
        event = side.record_event()
        with torch.cuda.stream(side):
            y.add_(1)
        main.wait_event(event)
        with pytest.raises(StreamRace):
            y.view(-1).sum()
        torch.cuda.synchronize()
        y.sum()


@pytest.mark.gpu
@pytest.mark.parametrize("family", ["llava", "qwen", "qwen3"])
def test_a_gpu_that_exists(checkpoint, family):
    """Same tokens; the same numbers as far as matrix products on two streams at once promise."""
    base, _ = load_model(checkpoint(family), kv_size=24, device="cuda", dtype="float32")
    plain, ahead = (open_stream(base, policy="recent", kv_size=92) for _ in range(2))
    assert isinstance(ahead.lookahead, StreamLookahead)
    assert not any(read(plain, chunks_of(plain), lookahead=Lookahead())[0])
    assert any(read(ahead, chunks_of(ahead))[0])
    ours, theirs = contents(ahead), contents(plain)
    for name in ("frame", "patch", "positions"):
        assert torch.equal(ours[name], theirs[name])
    assert largest_error(ours["keys"], theirs["keys"]) < 1e-4
