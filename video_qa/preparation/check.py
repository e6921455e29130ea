"""Are the questions all there, and does every video exist, open and last until its questions?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from video.error import VideoError
from video.reader import open_video
from video_qa.preparation.data_set import Counts
from video_qa.questions.annotations import Video
from video_qa.questions.question_times import LATE_TOLERANCE_SECONDS
from video_qa.questions.video_paths import locate_video


@dataclass(frozen=True)
class VideoCheck:
    """Complaints, a line per video or question, by kind."""

    num_videos: int
    missing: Sequence[str]
    unreadable: Sequence[str]
    late: Sequence[str]

    def sections(self) -> list[list[str]]:
        """All of it as text, a list of lines for each kind of complaint."""
        kinds = {
            "missing videos": self.missing,
            "videos that do not open": self.unreadable,
            "questions after the end of their video": self.late,
        }
        return [
            [f"  {len(complaints):,} {kind}", *(f"    {line}" for line in complaints)]
            for kind, complaints in kinds.items()
        ]


def count_lines(name: str, found: Counts, known: Counts | None) -> tuple[list[str], bool]:
    """What is said of the number of entries and questions, and whether it is the known one."""
    if known is None:
        return [f"{name}: {found} (no known counts to compare with)"], True
    if found == known:
        return [f"{name}: {found}, as known"], True
    return [f"!!! {name}: {found} instead of the known {known}"], False


def counts_of(videos: Sequence[Video]) -> Counts:
    return Counts(len(videos), sum(len(video.questions) for video in videos))


def check_videos(
    videos: Sequence[Video], video_root: Path | None, advice: Mapping[str, str]
) -> VideoCheck:
    """Open every video once; nothing is raised.

    Args:
        videos: entries of an annotation file.
        video_root: as the runner's ``--video_root``.
        advice: part of a video path -> how to get such a video.
    """
    missing: dict[str, None] = {}
    unreadable: dict[str, None] = {}
    late: list[str] = []
    durations: dict[tuple[object, ...], float | None] = {}
    for video in tqdm(videos, desc="videos", disable=None):
        key = (video.video_path, video.clip_seconds)
        if ".." in PurePosixPath(video.video_path).parts:
            unreadable[f"{video.video_path}: refused, the path leads out of its folder"] = None
            continue
        try:
            path = locate_video(video.video_path, video_root)
        except VideoError:
            missing[f"{video.video_path}{_advice(video.video_path, advice)}"] = None
            continue
        try:
            if key not in durations:
                durations[key] = None
                durations[key] = _duration_seconds(path, video)
        except VideoError as error:
            unreadable[str(error)] = None
            continue
        late += _late_questions(video, durations[key])
    num_videos = len({video.video_path for video in videos})
    return VideoCheck(num_videos, list(missing), list(unreadable), late)


def _duration_seconds(path: Path, video: Video) -> float | None:
    """Seconds the video says it lasts, after its first frame was decoded. Raises VideoError."""
    with open_video(
        path, 1.0, folder_fps=video.folder_fps, clip=video.clip_seconds, stop_index=1
    ) as stream:
        if next(iter(stream.take(1)), None) is None:
            raise VideoError(f"{path}: holds no frame")
        return stream.duration_seconds


def _late_questions(video: Video, duration_seconds: float | None) -> Iterable[str]:
    if duration_seconds is None:
        return
    for question in video.questions:
        end = question.end_time_seconds
        if end is not None and end > duration_seconds + LATE_TOLERANCE_SECONDS:
            yield f"{video.video_path}: asked at {end:g} s, ends at {duration_seconds:.1f} s"


def _advice(path: str, advice: Mapping[str, str]) -> str:
    return next((f" ({text})" for part, text in advice.items() if part in path), "")
