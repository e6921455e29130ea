"""Folders of images, .npy arrays and decord."""

import importlib.util
import sys

import numpy as np
import pytest
from PIL import Image
from videos import frame_number, numbered_frame, numbered_frames, write_video

from video.reader import VideoError, open_video


def numbers(path, sample_fps, **options):
    with open_video(path, sample_fps, **options) as video:
        return [frame_number(frame) for chunk in video.take() for frame in chunk.frames]


@pytest.fixture
def folder(tmp_path):
    """Thirty frames 00000.png ... and things that are no frames."""
    for number in range(30):
        suffix = ("png", "jpg", "JPEG")[number % 3]
        Image.fromarray(numbered_frame(number)).save(tmp_path / f"{number:05}.{suffix}")
    (tmp_path / "index.txt").write_text("not a frame")
    return tmp_path


@pytest.mark.parametrize(
    ("sampling", "sample_fps", "clip", "expected"),
    [
        ("timestamps", 1.0, None, list(range(0, 30, 3))),
        ("timestamps", 0.5, None, list(range(0, 30, 6))),
        ("timestamps", 2.0, None, [int(1.5 * index) for index in range(20)]),
        ("timestamps", 1.0, (2.0, 5.0), [6, 9, 12]),
        ("released", 2.0, None, list(range(30))),
        ("released", 1.0, (2.0, 5.0), [6, 9, 12, 15]),
        ("released", 3.0, (0.0, 2.5), list(range(8))),
    ],
)
def test_folder(folder, sampling, sample_fps, clip, expected):
    assert numbers(folder, sample_fps, folder_fps=3, sampling=sampling, clip=clip) == expected


def test_folder_pixels_are_those_of_the_images(tmp_path):
    Image.fromarray(numbered_frame(5)).convert("RGBA").save(tmp_path / "a.png")
    with open_video(tmp_path, 1.0, folder_fps=1) as video:
        chunk = next(video.take())
        np.testing.assert_array_equal(chunk.frames[0], numbered_frame(5))
        assert video.duration_seconds == 1.0


@pytest.fixture
def array(tmp_path):
    path = tmp_path / "movie.npy"
    np.save(path, np.stack(list(numbered_frames(20))))
    return path


@pytest.mark.parametrize(
    ("sampling", "sample_fps", "clip", "expected"),
    [
        ("timestamps", 1.0, None, list(range(20))),
        ("timestamps", 0.5, None, list(range(0, 20, 2))),
        ("timestamps", 2.0, (3.0, 5.0), [3, 3, 4, 4]),
        ("released", 0.5, None, [0, 2, 4, 6, 8, 10, 12, 14, 16, 19]),  # spread to the very end
        ("released", 0.01, None, [0]),
        ("released", 0.5, (3.0, 5.0), [0, 2, 4, 6, 8, 10, 12, 14, 16, 19]),
    ],
)
def test_array(array, sampling, sample_fps, clip, expected):
    assert numbers(array, sample_fps, sampling=sampling, clip=clip) == expected


def test_array_stops_where_it_is_told(array):
    assert numbers(array, 1.0, stop_index=3) == [0, 1, 2]
    assert numbers(array, 0.5, sampling="released", stop_index=3) == [0, 2, 4]


def test_decord_not_installed_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "decord", None)
    path = write_video(tmp_path / "v.mp4", numbered_frames(5), 10)
    with pytest.raises(VideoError, match=r"pip install 'hermes-stream\[decord\]'.*'pyav'"):
        open_video(path, 1.0, backend="decord")


@pytest.mark.skipif(
    importlib.util.find_spec("decord") is None,
    reason="decord is optional and not installed (pip install 'hermes-stream[decord]')",
)
@pytest.mark.parametrize("sampling", ["timestamps", "released"])
@pytest.mark.parametrize("sample_fps", [0.7, 2.0])
def test_decord_reads_the_same_frames_as_pyav(tmp_path, sampling, sample_fps):
    path = write_video(tmp_path / "v.mp4", numbered_frames(90), 10)
    options = {"sampling": sampling, "clip": (1.0, 6.0)}
    found = numbers(path, sample_fps, backend="decord", **options)
    assert found == numbers(path, sample_fps, backend="pyav", **options)


@pytest.mark.skipif(
    importlib.util.find_spec("decord") is None,
    reason="decord is optional and not installed (pip install 'hermes-stream[decord]')",
)
def test_decord_cannot_open_says_so(tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(VideoError, match=r"text\.mp4: decord cannot open it"):
        open_video(tmp_path / "text.mp4", 1.0, backend="decord")
