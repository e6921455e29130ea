"""Video files: the very frame on screen at each sampled time, whatever the encoding."""

import random
from fractions import Fraction
from types import SimpleNamespace

import av
import numpy as np
import pytest
from videos import frame_number, numbered_frames, write_video

from video.frame_request import FrameRequest
from video.frame_sources import open_source
from video.frame_sources.pyav_file import _packets_from
from video.reader import VideoError, open_video

SAMPLE_RATES = [0.3, 1.0, 7.3, 25.0]


def plain_frames(path):
    """(seconds after the first frame, pixels) of every frame, by PyAV without any cleverness."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        stamps = [(frame.pts - frames[0].pts) * Fraction(frame.time_base) for frame in frames]
        return list(zip(stamps, [f.to_ndarray(format="rgb24") for f in frames], strict=True))


def on_screen(frames, sample_fps, end_seconds, start_seconds=0):
    """The frames a viewer sees at the sampled times, found by looking through all of them."""
    rate, index, seen = Fraction(str(sample_fps)), 0, []
    while Fraction(str(start_seconds)) + index / rate < Fraction(str(end_seconds)):
        time = Fraction(str(start_seconds)) + index / rate
        seen.append([pixels for stamp, pixels in frames if stamp <= time][-1])
        index += 1
    return seen


def read(path, sample_fps, **options):
    with open_video(path, sample_fps, **options) as video:
        return [frame for chunk in video.take() for frame in chunk.frames]


def numbers(path, sample_fps, **options):
    return [frame_number(frame) for frame in read(path, sample_fps, **options)]


ENCODINGS = {
    "short groups": {"gop": 7},
    "one group": {"gop": 1000},
    "no B frames": {"b_frames": 0},
    "B pyramid": {"b_frames": 4, "options": {"x264-params": "b-pyramid=normal:b-adapt=0"}},
    "open groups": {"gop": 10, "b_frames": 3, "options": {"x264-params": "open-gop=1:b-adapt=0"}},
    "intra refresh": {"gop": 10, "b_frames": 0, "options": {"x264-params": "intra-refresh=1"}},
    "interlaced": {"options": {"x264-params": "tff=1"}},
    "many references": {"b_frames": 3, "options": {"x264-params": "ref=6:b-adapt=0"}},
    "all key frames": {"gop": 1, "b_frames": 0},
    "fragmented": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
}


@pytest.mark.parametrize("encoding", ENCODINGS.values(), ids=list(ENCODINGS))
def test_h264_frames_are_bit_identical_to_plain_decoding(tmp_path, encoding):
    path = write_video(tmp_path / "v.mp4", numbered_frames(95), 10, **encoding)
    frames = plain_frames(path)
    assert [frame_number(pixels) for _, pixels in frames] == list(range(95))
    for sample_fps in SAMPLE_RATES:
        np.testing.assert_array_equal(read(path, sample_fps), on_screen(frames, sample_fps, 9.5))


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        ("mkv", "libx264"),
        ("mov", "libx264"),
        ("avi", "libx264"),
        ("avi", "mpeg4"),
        ("webm", "libvpx"),
        ("webm", "libvpx-vp9"),
        ("mp4", "libx265"),
        ("mp4", "mpeg4"),
        ("ts", "libx264"),
        ("mkv", "mjpeg"),
    ],
)
def test_containers_and_codecs(tmp_path, suffix, codec):
    mjpeg = {"pixel_format": "yuvj420p", "b_frames": 0}
    options = mjpeg if codec == "mjpeg" else {}
    path = write_video(tmp_path / f"v.{suffix}", numbered_frames(64), 10, codec=codec, **options)
    for sample_fps in (0.4, 2.0, 5.0):
        times = [Fraction(index) / Fraction(str(sample_fps)) for index in range(100)]
        expected = [int(time * 10) for time in times if time < Fraction(64, 10)]
        assert numbers(path, sample_fps) == expected


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_variable_frame_rate_and_late_first_stamp(tmp_path, suffix):
    rng = random.Random(7)
    stamps = [5000]
    for _ in range(60):
        stamps.append(stamps[-1] + rng.choice([10, 33, 40, 200, 900]))
    path = write_video(
        tmp_path / f"v.{suffix}",
        numbered_frames(len(stamps)),
        30,
        stamps=stamps,
        time_base=Fraction(1, 1000),
    )
    for sample_fps in (0.5, 2.0, 11.0):
        found = numbers(path, sample_fps)
        for index, number in enumerate(found):
            time = 5000 + 1000 * index / sample_fps
            assert number == max(i for i, stamp in enumerate(stamps) if stamp <= time + 1e-6)
        assert len(found) >= int((stamps[-1] - 5000) / 1000 * sample_fps) + 1


def test_times_are_those_sampled_at(tmp_path):
    path = write_video(tmp_path / "v.mp4", numbered_frames(40), 10)
    with open_video(path, 3.0, clip=(1.0, 3.0), chunk_frames=4) as video:
        chunks = list(video.take())
    assert [chunk.start_index for chunk in chunks] == [0, 4]
    assert [len(chunk.frames) for chunk in chunks] == [4, 2]
    times = np.concatenate([chunk.times_seconds for chunk in chunks])
    assert times.dtype == np.float64
    np.testing.assert_allclose(times, 1.0 + np.arange(6) / 3, rtol=0, atol=1e-12)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "webm", "avi"])
@pytest.mark.parametrize("clip", [(0.0, 2.0), (3.5, 5.1), (6.0, 6.05), (7.9, 100.0)])
def test_a_clip_gives_the_frames_of_the_whole_video(tmp_path, suffix, clip):
    codec = "libvpx-vp9" if suffix == "webm" else "libx264"
    path = write_video(tmp_path / f"v.{suffix}", numbered_frames(90), 10, codec=codec, gop=9)
    for sample_fps in (0.5, 4.0):
        expected = []
        for index in range(1000):
            time = Fraction(str(clip[0])) + Fraction(index) / Fraction(str(sample_fps))
            if time < min(9, Fraction(str(clip[1]))):
                expected.append(int(time * 10))
        assert numbers(path, sample_fps, clip=clip) == expected


def test_a_clip_is_sought_not_decoded_from_the_start(tmp_path):
    path = write_video(tmp_path / "v.mp4", numbered_frames(300), 10, gop=10)
    source = open_source(FrameRequest(path, 1.0, clip=(25.0, 26.0)))
    assert [frame_number(frame) for frame in source.frames()] == [250]
    assert source.num_decoded <= 10


@pytest.mark.parametrize("fps", [10, Fraction(25, 2), 30])
@pytest.mark.parametrize("sample_fps", [0.5, 3.0, 60.0])
def test_released_rule_rounds_the_rate_and_steps(tmp_path, fps, sample_fps):
    path = write_video(tmp_path / "v.mp4", numbered_frames(64), fps)
    step = max(1, int(round(fps) / sample_fps))
    assert numbers(path, sample_fps, sampling="released") == list(range(0, 64, step))


def test_released_rule_with_a_clip_includes_its_last_frame(tmp_path):
    path = write_video(tmp_path / "v.mp4", numbered_frames(64), 10)
    found = numbers(path, 5.0, sampling="released", clip=(1.2, 3.2))
    assert found == list(range(12, 33, 2))


# display matrix (a, b, c, d) in a QuickTime track header -> what the picture must look like
TURNS = {
    (0, 1, -1, 0): lambda frame: np.rot90(frame, -1),  # the usual phone held upright
    (-1, 0, 0, -1): lambda frame: np.rot90(frame, 2),
    (0, -1, 1, 0): lambda frame: np.rot90(frame, 1),
    (-1, 0, 0, 1): lambda frame: frame[:, ::-1],  # mirrored front camera
}


@pytest.mark.parametrize("matrix", TURNS)
def test_frames_are_turned_as_a_player_shows_them(tmp_path, matrix):
    upright = write_video(tmp_path / "v.mp4", numbered_frames(20), 10)
    data = bytearray(upright.read_bytes())
    place = data.index(b"tkhd") + 44
    a, b, c, d = ((entry * 0x10000).to_bytes(4, "big", signed=True) for entry in matrix)
    zero, one = bytes(4), (0x40000000).to_bytes(4, "big")
    data[place : place + 36] = a + b + zero + c + d + zero + zero + zero + one
    turned = tmp_path / "turned.mp4"
    turned.write_bytes(data)
    expected = [TURNS[matrix](frame) for frame in read(upright, 2.0)]
    np.testing.assert_array_equal(read(turned, 2.0), expected)


@pytest.mark.parametrize("suffix", ["mp4", "webm"])
def test_nothing_is_decoded_beyond_stop_index(tmp_path, suffix):
    codec = "libvpx-vp9" if suffix == "webm" else "libx264"
    path = write_video(tmp_path / f"v.{suffix}", numbered_frames(400), 10, codec=codec)
    source = open_source(FrameRequest(path, 1.0, stop_index=6))
    assert [frame_number(frame) for frame in source.frames()] == [0, 10, 20, 30, 40, 50]
    assert source.num_decoded <= 51 + 4  # the frame after shows that 50 is it; B frames go along


def test_frames_that_nobody_needs_are_not_decoded(tmp_path):
    path = write_video(tmp_path / "v.mp4", numbered_frames(300), 10, gop=10, b_frames=2)
    source = open_source(FrameRequest(path, 0.2))
    assert [frame_number(frame) for frame in source.frames()] == [0, 50, 100, 150, 200, 250]
    assert source.num_decoded <= 40


def test_video_shorter_than_one_interval_delivers_its_first_frame(tmp_path):
    path = write_video(tmp_path / "v.mp4", numbered_frames(3), 10)
    assert numbers(path, 0.5) == [0]
    assert numbers(write_video(tmp_path / "one.mp4", numbered_frames(1), 10), 0.5) == [0]


def test_duration_is_known_where_the_file_states_it(tmp_path):
    for suffix in ("mp4", "mkv", "avi"):
        path = write_video(tmp_path / f"v.{suffix}", numbered_frames(25), 10)
        with open_video(path, 1.0) as video:
            assert video.duration_seconds == pytest.approx(2.5)


def test_resolution_change_keeps_the_first_size(tmp_path):
    """Two H.264 streams one after the other, as a live source does when it adapts."""
    small = write_video(tmp_path / "a.h264", numbered_frames(25, 128, 64), 25, b_frames=0)
    large = write_video(tmp_path / "b.h264", numbered_frames(25, 256, 128), 25, b_frames=0)
    both = tmp_path / "both.h264"
    both.write_bytes(small.read_bytes() + large.read_bytes())
    frames = read(both, 5.0)
    assert {frame.shape for frame in frames} == {(64, 128, 3)}
    assert [frame_number(frame) for frame in frames] == [0, 5, 10, 15, 20] * 2


def test_stream_without_stamps_runs_at_its_frame_rate(tmp_path):
    path = write_video(tmp_path / "v.h264", numbered_frames(50), 25)
    assert numbers(path, 5.0) == list(range(0, 50, 5))


def test_damage_message_names_the_last_good_time_and_frames_before_come(tmp_path):
    options = {"movflags": "faststart"}
    whole = write_video(tmp_path / "v.mp4", numbered_frames(200), 10, container_options=options)
    data = whole.read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(data[: len(data) * 6 // 10])
    found = []
    with (
        open_video(cut, 2.0, chunk_frames=3) as video,
        pytest.raises(VideoError, match=r"cut\.mp4: damaged after \d+\.\d\d s") as caught,
    ):
        for chunk in video.take():
            found += [frame_number(frame) for frame in chunk.frames]
    assert found == list(range(0, 200, 5))[: len(found)]
    last_good = float(str(caught.value).split("after ")[1].split(" s")[0])
    assert len(found) >= 10 and found[-1] / 10 <= last_good <= found[-1] / 10 + 0.6


@pytest.mark.parametrize(("stamp", "usable"), [(40, False), (50, True), (60, True)])
def test_seeking_that_lands_after_the_clip_is_not_used(stamp, usable):
    """Some containers seek by decoding stamps; the frame on screen may then be before."""
    packet = SimpleNamespace(pts=50)
    container = SimpleNamespace(seek=lambda *_, **__: None, demux=lambda _: iter([packet]))
    packets = _packets_from(container, None, stamp, lambda _: True)
    assert (packets is not None) == usable
    if packets is not None:
        assert list(packets) == [packet]
