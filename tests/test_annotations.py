"""The published annotation files load, with the counts measured on them."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from video_qa.questions.annotation_file import load_annotations
from video_qa.questions.annotations import Video
from video_qa.questions.benchmarks import DATASETS

pytest.importorskip("pydantic")
DEFAULT_FOLDER = Path(__file__).parents[1] / "../shared/annotations"
FOLDER = Path(os.environ.get("HERMES_ANNOTATIONS", DEFAULT_FOLDER))

COUNTS = {
    "streamingbench": (498, 2495),
    "ovobench": (1468, 1468),
    "rvs_ego": (10, 1465),
    "rvs_movie": (22, 1905),
    "videomme": (900, 2700),
    "mvbench": (4000, 4000),
}
OVO_TASKS = {
    "EPM": 297,
    "HLD": 186,
    "OJR": 184,
    "STU": 178,
    "OCR": 149,
    "ASI": 148,
    "ATR": 116,
    "ACR": 109,
    "FPD": 101,
}


def load(dataset: str) -> tuple[Video, ...]:
    benchmark = DATASETS[dataset]
    path = FOLDER / benchmark.annotation_file
    if not path.exists():
        pytest.skip(f"no published annotations at {path}; set HERMES_ANNOTATIONS to their folder")
    return load_annotations(path, benchmark.kind)


@pytest.mark.parametrize("dataset", COUNTS)
def test_entries_and_questions(dataset: str) -> None:
    videos = load(dataset)
    assert (len(videos), sum(len(video.questions) for video in videos)) == COUNTS[dataset]


def test_tasks_of_ovobench() -> None:
    tasks = Counter(question.task for video in load("ovobench") for question in video.questions)
    assert tasks == OVO_TASKS


def test_streamingbench_times_ascend_within_each_video() -> None:
    for video in load("streamingbench"):
        times = [question.end_time_seconds or 0 for question in video.questions]
        assert times == sorted(times) and times[0] >= 1 and times[-1] <= 1087


def test_durations_of_videomme() -> None:
    durations = Counter(video.duration_category for video in load("videomme"))
    assert durations == {"short": 300, "medium": 300, "long": 300}
    assert len({q.task for video in load("videomme") for q in video.questions}) == 12


def test_clips_and_frame_folders_of_mvbench() -> None:
    clipped = [video for video in load("mvbench") if video.clip_seconds is not None]
    assert len(clipped) == 200 and {video.folder_fps for video in clipped} == {3}
