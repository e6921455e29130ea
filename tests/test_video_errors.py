"""Bad videos: a VideoError that names the file and says what is wrong, from opening or reading."""

import wave
from fractions import Fraction
from io import BytesIO

import av
import numpy as np
import pytest
from PIL import Image
from videos import damaged_late, frame_number, numbered_frames, write_video

from video.frame_sources import stream_facts
from video.reader import VideoError, open_video


def fails(path, message, sample_fps=1.0, **options):
    """Opening and reading `path` must raise a VideoError that names it; frames read before."""
    frames = []
    with (
        pytest.raises(VideoError, match=message) as caught,
        open_video(path, sample_fps, **options) as video,
    ):
        for chunk in video.take():
            frames += list(chunk.frames)
    assert path.name in str(caught.value)
    return frames


@pytest.fixture
def video(tmp_path):
    return write_video(tmp_path / "good.mp4", numbered_frames(100), 10)


def test_missing_file(tmp_path):
    fails(tmp_path / "none.mp4", "no such video file or folder")


def test_empty_file(tmp_path):
    path = tmp_path / "empty.mp4"
    path.touch()
    fails(path, "empty")


def test_text_file(tmp_path):
    path = tmp_path / "text.mp4"
    path.write_text("These are words, not pictures.\n" * 200)
    fails(path, "not a video")


def test_mp4_cut_before_its_index(video):
    path = video.with_name("cut.mp4")
    path.write_bytes(video.read_bytes()[:-3000])
    fails(path, r"without a readable index \(moov\)")


def test_mp4_with_zeros_in_the_middle(video):
    data = bytearray(video.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 3000] = bytes(3000)
    path = video.with_name("zeros.mp4")
    path.write_bytes(data)
    frames = fails(path, r"damaged after \d\.\d+ s", sample_fps=2.0)
    found = [frame_number(frame) for frame in frames]
    assert found and found == list(range(0, 5 * len(found), 5))


@pytest.mark.parametrize(
    ("suffix", "codec", "first_part"),
    [("mkv", "libx264", 0.6), ("webm", "libvpx-vp9", 0.6), ("avi", "libx264", 0.7)],
)
@pytest.mark.parametrize("sampling", ["timestamps", "released"])
def test_other_containers_cut_in_the_middle(tmp_path, suffix, codec, first_part, sampling):
    whole = write_video(tmp_path / f"whole.{suffix}", numbered_frames(100), 10, codec=codec)
    data = whole.read_bytes()
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(data[: int(len(data) * first_part)])
    frames = fails(path, r"damaged after \d\.\d+ s", sample_fps=2.0, sampling=sampling)
    found = [frame_number(frame) for frame in frames]
    assert len(found) > 8 and found == list(range(0, 5 * len(found), 5))


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_title_in_latin_1_does_not_matter(tmp_path, suffix):
    path = write_video(tmp_path / f"v.{suffix}", numbered_frames(20), 10, title="CAFE DU MONDE")
    data = path.read_bytes()
    path.write_bytes(data.replace(b"CAFE DU MONDE", b"CAF\xc9 DU MONDE"))
    assert path.read_bytes() != data
    with open_video(path, 1.0) as stream:
        assert [frame_number(f) for chunk in stream.take() for f in chunk.frames] == [0, 10]


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "libx264"), ("avi", "mpeg4")])
@pytest.mark.parametrize("sampling", ["timestamps", "released"])
def test_frames_that_were_guessed_at_are_counted(tmp_path, suffix, codec, sampling):
    path = damaged_late(tmp_path / f"v.{suffix}", codec)
    counts = {}
    for chunk_frames in (1, 7, 16):  # however far ahead the thread decodes
        with open_video(path, 5.0, chunk_frames=chunk_frames, sampling=sampling) as stream:
            for chunk in stream.take():
                end_index = chunk.start_index + len(chunk.frames)
                count = stream.num_corrupt_frames
                assert counts.setdefault(end_index, count) == count
    assert counts[25] == 0 < counts[50] <= 50


def test_a_sound_video_has_no_corrupt_frame(video):
    with open_video(video, 5.0) as stream:
        assert sum(len(chunk.frames) for chunk in stream.take()) == 50
        assert stream.num_corrupt_frames == 0


def test_reading_that_fails_before_the_first_frame(video, monkeypatch):
    def refuse(container, stream):
        raise av.InvalidDataError(1, "Invalid data found when processing input")

    monkeypatch.setattr(stream_facts, "_first_packets", refuse)
    fails(video, "reading fails: Invalid data")


def test_damage_after_stop_index_does_not_matter(video):
    data = video.read_bytes()
    path = write_video(
        video.with_name("fast.mp4"),
        numbered_frames(100),
        10,
        container_options={"movflags": "faststart"},
    )
    path.write_bytes(path.read_bytes()[: len(data) * 6 // 10])
    with open_video(path, 1.0, stop_index=3) as stream:
        assert [frame_number(f) for chunk in stream.take() for f in chunk.frames] == [0, 10, 20]


def test_audio_only(tmp_path):
    path = tmp_path / "sound.wav"
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(16000))
    fails(path, "no video stream.*audio")


@pytest.mark.parametrize("sample_fps", [0, -1, float("nan"), float("inf"), "fast", None, True])
def test_sample_rate_must_be_a_positive_number(video, sample_fps):
    fails(video, "sample_fps must be", sample_fps=sample_fps)


@pytest.mark.parametrize("clip", [(5, 2), (2, 2), (-1, 2), (0, float("nan")), (1,), ("a", "b")])
def test_clip_must_be_an_interval(video, clip):
    fails(video, "clip must", clip=clip)


@pytest.mark.parametrize("sampling", ["timestamps", "released"])
def test_clip_beyond_the_end(video, sampling):
    fails(video, r"clip starts at 60 s, but the video ends at 10 s", clip=(60, 70))


def test_clip_beyond_the_end_of_a_stream_that_states_no_duration(tmp_path):
    path = write_video(tmp_path / "v.h264", numbered_frames(50), 25)
    fails(path, "no frame at 60 s, the video ends at 2 s", clip=(60, 70))


def test_clip_that_ends_beyond_the_end_is_read_with_a_warning(video, caplog):
    with open_video(video, 1.0, clip=(8, 20)) as stream:
        assert [frame_number(f) for chunk in stream.take() for f in chunk.frames] == [80, 90]
    assert "the clip ends at 20 s, the video at 10 s" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampling": "sometimes"}, "unknown sampling 'sometimes'; known: released, timestamps"),
        ({"backend": "vhs"}, "unknown video backend 'vhs'; known: decord, pyav, torchcodec"),
    ],
)
def test_unknown_names_list_the_known_ones(video, options, message):
    with pytest.raises(VideoError, match=message):
        open_video(video, 1.0, **options)


@pytest.mark.parametrize("options", [{"chunk_frames": 0}, {"stop_index": 0}, {"folder_fps": 0}])
def test_numbers_must_make_sense(video, options):
    fails(video, next(iter(options)), **options)


def test_folder_without_rate_or_images(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    fails(folder, "frame rate is needed")
    (folder / "readme.txt").write_text("no image")
    fails(folder, "no image", folder_fps=3)


def test_folder_with_images_of_different_sizes(tmp_path):
    for name, size in (("1.png", (8, 6)), ("2.png", (9, 6))):
        Image.new("RGB", size).save(tmp_path / name)
    with open_video(tmp_path, 1.0, folder_fps=1) as video:
        chunks = video.take()
        assert len(next(chunks).frames) == 1
        with pytest.raises(VideoError, match=r"2\.png: image of 9x6 pixels, the first one has 8x6"):
            next(chunks)


def test_folder_with_a_broken_image(tmp_path):
    (tmp_path / "1.jpg").write_text("not an image")
    with (
        open_video(tmp_path, 1.0, folder_fps=1) as video,
        pytest.raises(VideoError, match=r"1\.jpg: not a readable image"),
    ):
        next(video.take())


@pytest.mark.parametrize(("position", "byte"), [(11, 0), (36, 0)])
def test_folder_with_a_damaged_png(tmp_path, position, byte):
    file = BytesIO()
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(file, "png")
    data = bytearray(file.getvalue())
    data[position] = byte
    (tmp_path / "1.png").write_bytes(data)
    with (
        open_video(tmp_path, 1.0, folder_fps=1) as video,
        pytest.raises(VideoError, match=r"1\.png: not a readable image"),
    ):
        next(video.take())


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 6, 8, 3), np.float32),
        np.zeros((4, 6, 8), np.uint8),
        np.zeros((4, 6, 8, 4), np.uint8),
        np.zeros((0, 6, 8, 3), np.uint8),
    ],
    ids=["float", "grey", "four channels", "no frames"],
)
def test_array_of_wrong_shape_or_type(tmp_path, array):
    np.save(tmp_path / "v.npy", array)
    fails(tmp_path / "v.npy", r"expected uint8 frames of shape \(frames, height, width, 3\), got")


@pytest.mark.parametrize("content", [b"", b"rubbish", b"\x93NUMPY\x01\x00"])
def test_array_file_that_is_none(tmp_path, content):
    (tmp_path / "v.npy").write_bytes(content)
    fails(tmp_path / "v.npy", "not a readable .npy array")


@pytest.mark.parametrize(
    ("header", "damaged"), [(b"{'descr'", b"\xd7'descr'"), (b"|u1", b"|01"), (b" 3)", b"-3)")]
)
def test_array_file_with_a_damaged_header(tmp_path, header, damaged):
    path = tmp_path / "v.npy"
    np.save(path, np.zeros((3, 4, 5, 3), np.uint8))
    assert header in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(header, damaged))
    fails(path, "not a readable .npy array")


def test_array_of_objects_is_not_unpickled(tmp_path):
    np.save(tmp_path / "v.npy", np.array([{}], dtype=object), allow_pickle=True)
    fails(tmp_path / "v.npy", "not a readable .npy array")


def test_rate_given_as_fraction_text_is_refused(video):
    fails(video, "sample_fps must be", sample_fps=Fraction(1, 2).__str__())
