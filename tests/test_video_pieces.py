"""Pieces of a video decoded at once: frames, times, errors and counts of decoding one by one."""

from __future__ import annotations

import random
import threading
import time
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import av
import numpy as np
import pytest
from videos import damaged_late, frame_number, numbered_frames, write_video

from video.error import VideoError
from video.frame_request import FrameRequest
from video.frame_sources import open_source, pyav_pieces
from video.frame_sources.pyav_pieces import MIN_STEPS, PieceDecoder, Uncertain, cut
from video.packet_plan import PacketStep
from video.reader import open_video
from video.sampling import SamplePlan

NUM_FRAMES = 170


def write(path, **options):
    return write_video(path, numbered_frames(NUM_FRAMES), 10, **{"gop": 12, **options})


def variable(path):
    rng, stamps = random.Random(7), [5000]
    for _ in range(NUM_FRAMES - 1):
        stamps.append(stamps[-1] + rng.choice([10, 33, 40, 200, 500]))
    return write(path, stamps=stamps, time_base=Fraction(1, 1000))


def overwritten(path, share=1.0):
    """Rubbish over the last part of three packets at second 10; part of one is guessed at."""
    write(path, b_frames=2 if share == 1 else 0)
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size][100:103]
    data = bytearray(path.read_bytes())
    for position, size in packets:
        length = int(size * share)
        data[position + size - length : position + size] = bytes([0x55 * (share < 1)] * length)
    path.write_bytes(data)
    return path


def cut_off(path, share=0.6, **options):
    write(path, **options)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def changing_size(path):
    """Two sizes in one raw stream, which has no stamps either."""
    parts = [
        write_video(path.with_name(f"{s}.h264"), numbered_frames(50, s, 64)) for s in (128, 256)
    ]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def reluctant(path):
    """The first packet cannot be decoded."""
    write(path)
    with av.open(str(path)) as container:
        first = next(p for p in container.demux(video=0) if p.size)
    data = bytearray(path.read_bytes())
    data[first.pos : first.pos + first.size] = bytes(first.size)
    path.write_bytes(data)
    return path


FASTSTART = {"container_options": {"movflags": "faststart"}}
IN_PIECES = {
    "h264.mp4": write,
    "short groups.mp4": lambda path: write(path, gop=7),
    "no B frames.mkv": lambda path: write(path, b_frames=0),
    "B pyramid.mp4": lambda path: write(
        path, b_frames=4, options={"x264-params": "b-pyramid=normal:b-adapt=0"}
    ),
    "many references.mov": lambda path: write(
        path, b_frames=3, options={"x264-params": "ref=6:b-adapt=0"}
    ),
    "all key frames.mp4": lambda path: write(path, gop=1, b_frames=0),
    "fragmented.mp4": lambda path: write(
        path, container_options={"movflags": "frag_keyframe+empty_moov"}
    ),
    "variable.mp4": variable,
    "variable.mkv": variable,
    "h265.mp4": lambda path: write(path, codec="libx265"),
    "vp8.webm": lambda path: write(path, codec="libvpx"),
    "vp9.webm": lambda path: write(path, codec="libvpx-vp9"),
    "motion jpeg.mkv": lambda path: write(path, codec="mjpeg", pixel_format="yuvj420p", b_frames=0),
    "transport.ts": write,
    "guesses late.mp4": lambda path: damaged_late(path, "libx264"),
    "overwritten.mp4": overwritten,
    "guesses.mp4": lambda path: overwritten(path, 0.5),
    "end lost.mp4": lambda path: cut_off(path, **FASTSTART),
    "nearly whole.mp4": lambda path: cut_off(path, 0.97, **FASTSTART),
    "end lost.mkv": cut_off,
    "vp9 end lost.webm": lambda path: cut_off(path, codec="libvpx-vp9"),
    "one group.mp4": lambda path: write(path, gop=1000),
    "intra refresh.mp4": lambda path: write(
        path, b_frames=0, options={"x264-params": "intra-refresh=1"}
    ),
}
ONE_BY_ONE = {
    "first packet lost.mp4": reluctant,
    "interlaced.mp4": lambda path: write(path, options={"x264-params": "tff=1"}),
    "no stamps of display.avi": write,
    "mpeg4.mp4": lambda path: write(path, codec="mpeg4"),
    "guesses late.avi": lambda path: damaged_late(path, "mpeg4"),
    "two sizes.h264": changing_size,
}
WRITERS = IN_PIECES | ONE_BY_ONE


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Name -> path of a video, written when it is first asked for."""
    folder, paths = tmp_path_factory.mktemp("videos"), {}

    def path_of(name):
        if name not in paths:
            paths[name] = WRITERS[name](folder / name.replace(" ", "_"))
        return paths[name]

    return path_of


def read(path, sample_fps, workers, **options):
    """All that a reader shows of a video: frames, times, counts of corrupt ones, the error."""
    frames, times, counts, error = [], [], [], None
    try:
        with open_video(path, sample_fps, decode_workers=workers, **options) as video:
            for chunk in video.take():
                frames += list(chunk.frames)
                times += chunk.times_seconds.tolist()
                counts.append(video.num_corrupt_frames)
    except VideoError as failure:
        error = str(failure)
    return SimpleNamespace(frames=frames, times=times, counts=counts, error=error)


def assert_equal(seen, expected):
    assert seen.error == expected.error
    assert seen.times == expected.times
    assert seen.counts == expected.counts
    assert len(seen.frames) == len(expected.frames)
    for ours, theirs in zip(seen.frames, expected.frames, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.fixture
def pieces(monkeypatch):
    """Sizes of the pieces that were decoded, by any thread."""
    sizes, decode = [], PieceDecoder._decode

    def noted(self, piece):
        sizes.append(len(piece))
        return decode(self, piece)

    monkeypatch.setattr(PieceDecoder, "_decode", noted)
    return sizes


@pytest.mark.parametrize("name", WRITERS)
def test_any_number_of_workers_reads_the_same(videos, pieces, name):
    path, num_pieces = videos(name), 0
    for sample_fps, workers in ((0.9, 3), (5.3, 2)):
        expected = read(path, sample_fps, 1)
        assert not pieces
        assert_equal(read(path, sample_fps, workers), expected)
        num_pieces += len(pieces)
        pieces.clear()
    assert (num_pieces > 0) == (name in IN_PIECES), "or the test proves nothing"


@pytest.mark.parametrize("name", ["h264.mp4", "vp9.webm", "guesses.mp4", "variable.mkv"])
@pytest.mark.parametrize(
    "options",
    [
        {"clip": (3.7, 15.0)},
        {"clip": (6.1, 12.3), "chunk_frames": 1},
        {"clip": (0.0, 100.0), "chunk_frames": 5},
        {"stop_index": 31},
        {"sampling": "released"},
    ],
    ids=lambda options: "-".join(options),
)
def test_clips_stops_and_the_released_rule(videos, name, options):
    path = videos(name)
    assert_equal(read(path, 3.0, 2, **options), read(path, 3.0, 1, **options))


def test_damage_is_met_one_by_one_from_shortly_before(videos, pieces):
    """The video is not read twice: what is sound before the damage came in pieces."""
    source = open_source(FrameRequest(videos("overwritten.mp4"), 5.0, decode_workers=2))
    numbers = []
    with suppress(VideoError):
        for frame in source.frames():
            numbers.append(frame_number(frame))
    assert numbers[:48] == list(range(0, 96, 2))
    assert len(pieces) >= 2 and 0 < source.num_decoded <= NUM_FRAMES - 36


def test_dense_frames_are_left_to_one_decoder(videos, pieces):
    path = videos("one group.mp4")
    assert len(read(path, 10.0, 2).frames) == NUM_FRAMES
    assert not pieces


PLAN = SamplePlan(Fraction(0), Fraction(50), None, counts_frames=False)


def packets(count, restart_every):
    return (
        PacketStep(SimpleNamespace(pts=n), True, False, restart=n % restart_every == 0)
        for n in range(count)
    )


def test_pieces_begin_at_restarts_and_are_long_enough():
    pieces = [piece.steps for piece in cut(packets(200, 12), PLAN)]
    assert [step.packet.pts for steps in pieces for step in steps] == list(range(200))
    assert all(steps[0].restart for steps in pieces)
    assert all(len(steps) >= MIN_STEPS for steps in pieces[:-1])


def test_where_nothing_restarts_it_ends_in_doubt():
    assert [type(piece) for piece in cut(packets(2000, 2000), PLAN)] == [Uncertain]
    dense = replace(PLAN, step=Fraction(2))
    assert [type(piece) for piece in cut(packets(200, 100), dense)] == [Uncertain]
    steps = [*packets(40, 40), PacketStep(SimpleNamespace(pts=None), True, False)]
    assert [type(piece) for piece in cut(iter(steps), PLAN)] == [Uncertain]


def test_few_frames_are_decoded_ahead(videos, monkeypatch):
    """However slow the reader: a window, not the file."""
    monkeypatch.setattr(pyav_pieces, "MAX_FRAMES_AHEAD", 1)
    num_pieces, decode = 0, PieceDecoder._decode

    def counted(self, piece):
        nonlocal num_pieces
        num_pieces += 1
        return decode(self, piece)

    monkeypatch.setattr(PieceDecoder, "_decode", counted)
    with open_video(videos("h264.mp4"), 2.0, decode_workers=3, chunk_frames=1) as video:
        chunks = video.take()
        next(chunks)
        time.sleep(0.3)  # in which all could be decoded; on a slow machine the test sees less
        assert num_pieces <= 3, "one piece is handed out, two are under way"
        assert 1 + sum(len(chunk.frames) for chunk in chunks) == 34
    assert num_pieces == 4


@pytest.mark.parametrize("taken", [0, 1, 20])
def test_closing_early_leaves_no_thread(videos, taken):
    with open_video(videos("short groups.mp4"), 5.0, decode_workers=3, chunk_frames=4) as video:
        list(video.take(taken))
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith("video-")]


@pytest.mark.parametrize("workers", [0, -1, 1.5, "two", True])
def test_workers_must_be_a_number_from_one(videos, workers):
    with pytest.raises(VideoError, match="decode_workers must be at least 1"):
        open_video(videos("h264.mp4"), 1.0, decode_workers=workers)
