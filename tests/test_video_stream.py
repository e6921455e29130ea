"""Chunks, bounds and threads of an open video, with sources that are watched closely."""

import threading
import weakref

import numpy as np
import pytest
from videos import frame_number, numbered_frames, write_video

from video import frame_sources
from video.reader import VideoError, open_video

WAIT_SECONDS = 20  # only reached when a test fails


class WatchedSource:
    """Counts frames made and frames alive; fails at `fail_at`."""

    def __init__(self, num_frames=50, fail_at=None):
        self.duration_seconds, self.num_corrupt = None, 0
        self.num_frames, self.fail_at = num_frames, fail_at
        self.made, self.alive, self.most_alive = 0, 0, 0
        self.closed = False
        self.changed = threading.Condition()

    def __call__(self, request):
        return self

    def frames(self):
        try:
            for index in range(self.num_frames):
                if index == self.fail_at:
                    raise VideoError(f"frame {index} is broken")
                yield self.make(index)
        finally:
            self.closed = True

    def make(self, index):
        frame = np.full((2, 2, 3), index, np.uint8)
        weakref.finalize(frame, self.count, -1)
        self.count(1)
        with self.changed:
            self.made += 1
            self.changed.notify_all()
        return frame

    def count(self, change):
        with self.changed:
            self.alive += change
            self.most_alive = max(self.most_alive, self.alive)

    def wait_until_made(self, count):
        with self.changed:
            assert self.changed.wait_for(lambda: self.made >= count, WAIT_SECONDS)


@pytest.fixture
def watched(tmp_path, monkeypatch):
    """A function that opens a WatchedSource as if it were a video file."""
    (tmp_path / "video").touch()

    def open_watched(source, **options):
        monkeypatch.setitem(frame_sources.VIDEO_BACKENDS, "watched", source)
        return open_video(tmp_path / "video", 1.0, backend="watched", **options)

    return open_watched


def decoder_threads():
    return [thread for thread in threading.enumerate() if thread.name == "video-decoder"]


def values(chunks):
    return [int(frame[0, 0, 0]) for chunk in chunks for frame in chunk.frames]


@pytest.mark.parametrize("chunk_frames", [1, 3, 16, 64])
def test_take_cuts_chunks_at_every_stop(watched, chunk_frames):
    with watched(WatchedSource(), chunk_frames=chunk_frames) as video:
        seen = []
        for stop in (1, 1, 5, 21, 21, 38, 50, 60):
            chunks = list(video.take(stop))
            assert all(len(chunk.frames) <= chunk_frames for chunk in chunks)
            assert [chunk.start_index for chunk in chunks][:1] in ([], [len(seen)])
            seen += values(chunks)
            assert seen == list(range(min(stop, 50)))
            assert video.next_index == len(seen)
        assert video.exhausted
        assert list(video.take()) == []


def test_exhausted_is_false_before_the_end(watched):
    with watched(WatchedSource()) as video:
        assert not video.exhausted
        list(video.take(49))
        assert not video.exhausted


def test_the_next_chunk_is_decoded_while_this_one_is_used(watched):
    source = WatchedSource()
    with watched(source, chunk_frames=4) as video:
        for chunk in video.take(40):
            source.wait_until_made(min(50, chunk.start_index + 8))


def test_never_more_than_one_chunk_ahead(watched):
    source = WatchedSource()
    with watched(source, chunk_frames=4) as video:
        source.wait_until_made(4)
        for chunk in video.take():
            assert source.made <= chunk.start_index + len(chunk.frames) + 4
    assert source.most_alive <= 5  # one more: the one that the source itself still holds


def test_frames_handed_out_belong_to_the_caller(watched):
    with watched(WatchedSource(), chunk_frames=4) as video:
        assert values(list(video.take())) == list(range(50))


def test_an_error_comes_after_the_frames_before_it(watched):
    source = WatchedSource(fail_at=6)
    with watched(source, chunk_frames=4) as video:
        seen = []
        with pytest.raises(VideoError, match="frame 6 is broken"):
            for chunk in video.take():
                seen += values([chunk])
        assert seen == list(range(6))
        with pytest.raises(VideoError, match="frame 6 is broken"):
            next(video.take())
    assert not decoder_threads() and source.closed


def test_an_error_beyond_what_is_taken_does_not_matter(watched):
    with watched(WatchedSource(fail_at=6), chunk_frames=4) as video:
        assert values(video.take(5)) == list(range(5))


@pytest.mark.parametrize("taken", [0, 1, 9, 50])
def test_closing_early_stops_the_thread_and_the_source(watched, taken):
    source = WatchedSource()
    with watched(source, chunk_frames=4) as video:
        list(video.take(taken))
    assert not decoder_threads()
    assert source.closed
    video.close()


def test_an_exception_of_the_consumer_stops_the_thread(watched):
    source = WatchedSource()
    with (
        pytest.raises(RuntimeError, match="model"),
        watched(source, chunk_frames=4) as video,
    ):
        for _ in video.take():
            raise RuntimeError("the model has failed")
    assert not decoder_threads() and source.closed


def test_taking_after_close_is_an_error(watched):
    with watched(WatchedSource()) as video:
        pass
    with pytest.raises(VideoError, match="closed"):
        next(video.take())


def test_real_video_closed_in_the_middle(tmp_path):
    path = write_video(tmp_path / "v.mp4", numbered_frames(200), 10)
    with open_video(path, 5.0, chunk_frames=4) as video:
        chunk = next(video.take())
        assert [frame_number(frame) for frame in chunk.frames] == [0, 2, 4, 6]
    assert not decoder_threads()


def test_two_streams_of_one_file_at_once(tmp_path):
    path = write_video(tmp_path / "v.mp4", numbered_frames(60), 10)
    with open_video(path, 1.0, chunk_frames=2) as one, open_video(path, 2.0, chunk_frames=2) as two:
        pairs = list(zip(one.take(), two.take(), strict=False))
    assert [frame_number(chunk.frames[0]) for chunk, _ in pairs] == [0, 20, 40]
    assert [frame_number(chunk.frames[0]) for _, chunk in pairs] == [0, 10, 20]
