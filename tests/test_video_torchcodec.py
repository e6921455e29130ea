"""The reader that uses torchcodec, on a stand-in with the documented interface of its decoder.

The package itself has not been at hand: what is tested is which frames are asked for.
"""

from __future__ import annotations

import random
import sys
from fractions import Fraction
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import av
import pytest
import torch
from videos import frame_number, numbered_frames, write_video

from video.error import VideoError
from video.frame_sources import VIDEO_BACKENDS
from video.reader import open_video
from video_qa.settings import run_settings


class VideoDecoder:
    """Signature, metadata and batches as documented; decodes with PyAV, all at once."""

    opened: ClassVar[dict[str, object]] = {}
    broken: ClassVar[int | None] = None

    def __init__(
        self,
        source,
        *,
        stream_index=None,
        dimension_order="NCHW",
        num_ffmpeg_threads=1,
        device="cpu",
        seek_mode="exact",
    ):
        VideoDecoder.opened = {"device": device, "threads": num_ffmpeg_threads}
        assert isinstance(source, str) and dimension_order == "NHWC"
        with av.open(source) as container:
            frames = list(container.decode(video=0))
        self._pts = [float(frame.pts * frame.time_base) for frame in frames]
        self._images = [torch.from_numpy(f.to_ndarray(format="rgb24")) for f in frames]
        last = frames[-1]
        self._ends = [*self._pts[1:], float((last.pts + last.duration) * last.time_base)]
        self.metadata = SimpleNamespace(
            begin_stream_seconds=self._pts[0],
            end_stream_seconds=self._ends[-1],
            num_frames=len(frames),
            average_fps=len(frames) / (self._ends[-1] - self._pts[0]),
        )

    def get_frames_at(self, indices):
        if not all(0 <= index < len(self._images) for index in indices):
            raise IndexError("index out of bounds")
        if self.broken in indices:
            raise RuntimeError("Could not decode\nmore words")
        return SimpleNamespace(data=torch.stack([self._images[index] for index in indices]))

    def get_frames_played_at(self, seconds):
        if not all(self._pts[0] <= time < self._ends[-1] for time in seconds):
            raise RuntimeError("frame pts out of range")
        played = [max(i for i, pts in enumerate(self._pts) if pts <= time) for time in seconds]
        return self.get_frames_at(played)


@pytest.fixture
def stand_in(monkeypatch):
    """The package, as far as it is documented."""
    package, decoders = ModuleType("torchcodec"), ModuleType("torchcodec.decoders")
    decoders.VideoDecoder = VideoDecoder
    monkeypatch.setitem(sys.modules, "torchcodec", package)
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", decoders)
    return VideoDecoder


def numbers(path, sample_fps, **options):
    with open_video(path, sample_fps, **options) as video:
        return [frame_number(frame) for chunk in video.take() for frame in chunk.frames]


@pytest.fixture(scope="module")
def steady(tmp_path_factory):
    folder = tmp_path_factory.mktemp("steady")
    return write_video(folder / "v.mp4", numbered_frames(100), Fraction(30000, 1001))


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    rng, stamps = random.Random(3), [5000]
    for _ in range(60):
        stamps.append(stamps[-1] + rng.choice([10, 33, 40, 200, 900]))
    path = tmp_path_factory.mktemp("uneven") / "v.mp4"
    return write_video(path, numbered_frames(61), 30, stamps=stamps, time_base=Fraction(1, 1000))


@pytest.fixture(scope="module")
def thirds(tmp_path_factory):
    """No stamp is a number of nanoseconds."""
    return write_video(tmp_path_factory.mktemp("thirds") / "v.mp4", numbered_frames(20), 3)


@pytest.mark.parametrize("video", ["steady", "uneven", "thirds"])
@pytest.mark.parametrize("sample_fps", [0.7, 2.0, 3.0, 29.97])
@pytest.mark.parametrize("options", [{}, {"clip": (1.0, 2.6)}, {"stop_index": 3}], ids=str)
def test_the_frames_that_pyav_picks(stand_in, request, video, sample_fps, options):
    path = request.getfixturevalue(video)
    found = numbers(path, sample_fps, backend="torchcodec", **options)
    assert found == numbers(path, sample_fps, **options)


@pytest.mark.parametrize("options", [{}, {"clip": (1.0, 2.6)}], ids=str)
def test_the_released_rule(stand_in, steady, options):
    found = numbers(steady, 3.0, backend="torchcodec", sampling="released", **options)
    assert found == numbers(steady, 3.0, sampling="released", **options)


def test_the_device_is_handed_on(stand_in, steady):
    for backend, device in (("torchcodec", "cpu"), ("torchcodec-cuda", "cuda")):
        numbers(steady, 1.0, backend=backend, decode_workers=3)
        assert stand_in.opened == {"device": device, "threads": 3}


def test_an_error_comes_after_the_frames_before_it(stand_in, steady, monkeypatch):
    monkeypatch.setattr(stand_in, "broken", 59)
    found = []
    with (
        pytest.raises(VideoError, match=r"v\.mp4: torchcodec cannot decode 2\.00 s: Could not dec"),
        open_video(steady, 2.0, backend="torchcodec") as video,
    ):
        for chunk in video.take():
            found += [frame_number(frame) for frame in chunk.frames]
    assert found == numbers(steady, 2.0)[:4]


def test_a_file_that_it_cannot_open_is_named(stand_in, tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(VideoError, match=r"text\.mp4: torchcodec cannot open it on cuda"):
        open_video(tmp_path / "text.mp4", 1.0, backend="torchcodec-cuda")


def test_not_installed_says_what_to_install(steady, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchcodec", None)
    with pytest.raises(VideoError, match=r"pip install 'hermes-stream\[torchcodec\]'.*'pyav'"):
        open_video(steady, 1.0, backend="torchcodec")


def test_command_lines_know_every_reader():
    assert sorted(run_settings.VIDEO_BACKENDS) == sorted(VIDEO_BACKENDS)
