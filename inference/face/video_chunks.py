"""Chunks of a video, put behind what a stream has watched already."""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import Any

from hermes.imports import require_ours
from inference.abstract_hermes import AbstractHermes
from inference.face.frame_chunks import Chunking, Chunks


def cut_video(engine: AbstractHermes, path: str | Path, **options: Any) -> Chunks:
    """Open a video at the engine's rate and chunk length.

    Times that lie before the end of the stream are moved behind it, all by as much.

    Args:
        options: of `video.open_video`.

    Raises:
        VideoError: it cannot be opened; while reading, if it is damaged.
    """
    require_ours("video")
    from video import open_video

    video = open_video(path, engine.sample_fps, chunk_frames=engine.config.chunk_frames, **options)
    duration = video.duration_seconds
    num_frames = None if duration is None else ceil(duration * engine.sample_fps)

    def read() -> Chunking:
        delay = None
        with video:
            for chunk in video.take():
                if delay is None:
                    delay = _delay(engine, float(chunk.times_seconds[0]))
                yield chunk.frames, chunk.times_seconds + delay

    return Chunks(read(), num_frames, video.is_ready)


def _delay(engine: AbstractHermes, first_seconds: float) -> float:
    last = engine.last_seconds
    overlaps = last is not None and first_seconds <= last
    return engine.next_seconds - first_seconds if overlaps else 0.0
