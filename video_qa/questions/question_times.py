"""Which frames a question may see, given its time stamp. Times count from the video's start."""

from __future__ import annotations

from video.sampling import frames_before
from video_qa.questions.annotations import Question, Video

# Benchmarks round durations to whole seconds; a question that much after the end is not late.
LATE_TOLERANCE_SECONDS = 1.0


class QuestionError(ValueError):
    """One question cannot be answered; the others of its video can."""


def stop_index(video: Video, question: Question, sample_fps: float) -> int | None:
    """Number of sampled frames the question may see, at least one; None: all of them.

    Raises:
        QuestionError: the question comes before the first frame.
    """
    if question.end_time_seconds is None:
        return None
    start_seconds = video.clip_seconds[0] if video.clip_seconds else 0.0
    if question.end_time_seconds < start_seconds:
        raise QuestionError(
            f"end_time {question.end_time_seconds:g} s is before the first frame "
            f"({start_seconds:g} s)"
        )
    return frames_before(question.end_time_seconds - start_seconds, sample_fps)


def last_stop_index(video: Video, sample_fps: float) -> int | None:
    """Number of sampled frames that all questions of a video need together; None: all of them."""
    stops: list[int] = [1]
    for question in video.questions:
        try:
            stop = stop_index(video, question, sample_fps)
        except QuestionError:
            continue
        if stop is None:
            return None
        stops.append(stop)
    return max(stops)


def lateness(
    video: Video,
    question: Question,
    num_frames: int,
    sample_fps: float,
    duration_seconds: float | None,
) -> str | None:
    """What is wrong with a question for which the video, of ``num_frames`` frames, was too short.

    None if it comes at most ``LATE_TOLERANCE_SECONDS`` after the end of the video or its clip.
    """
    start_seconds, clip_end_seconds = video.clip_seconds or (0.0, None)
    watched_until_seconds = start_seconds + num_frames / sample_fps
    end_seconds = max(watched_until_seconds, clip_end_seconds or duration_seconds or 0.0)
    end_time_seconds = question.end_time_seconds or 0.0
    if end_time_seconds <= end_seconds + LATE_TOLERANCE_SECONDS:
        return None
    return f"end_time {end_time_seconds:g} s is after the end of the video ({end_seconds:.1f} s)"
