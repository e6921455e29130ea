"""Fixed streams, fixed accuracies: a broken position, mask or summary shows in the answers."""

from __future__ import annotations

import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import DEVICE, DTYPE

from eval.intervals import clopper_pearson
from eval.multiple_choice.words import normalised
from video_qa.hermes_vqa import HermesVQA
from video_qa.nanostream.questions import GROUPS
from video_qa.nanostream.write import CHOICE, WORDS, Settings, write_split
from video_qa.questions.annotations import Question, Video
from video_qa.settings.model_registry import load_engine
from video_qa.settings.run_settings import RunSettings

FOLDER = Path(__file__).resolve().parents[1] / "models" / "hermes-nano"
EAGER = "hermes:reindex=eager"
KV_SIZES = {"none": 320, "hermes": 64, EAGER: 64}
MINUTES = {"none": 64 / 60, "hermes": 128 / 60, EAGER: 128 / 60}  # trained length, twice as much
KINDS = {task: group for group, tasks in GROUPS.items() for task in tasks}
# Right answers of the shipped weights on these streams, in the order of `GROUPS`.
MEASURED = {
    "none": (48, 44, 48, 12, 12, 12),
    "hermes": (48, 51, 37, 11, 12, 11),
    EAGER: (48, 48, 45, 10, 12, 11),
}


CODED = find_spec("av") is not None
"""Without PyAV the same streams are watched as they were rendered, without H.264."""


def videos_of(file: Path) -> list[Video]:
    """As `load_annotations` gives them, without pydantic."""
    return [
        Video(
            index,
            entry["video_id"],
            entry["video_path"],
            tuple(
                Question(
                    asked["question"],
                    asked["answer"],
                    tuple(asked["choices"]) if "choices" in asked else None,
                    asked["end_time"],
                    asked["task"],
                )
                for asked in entry["conversations"]
            ),
        )
        for index, entry in enumerate(json.loads(file.read_text()))
    ]


@pytest.fixture(scope="module")
def streams(tmp_path_factory):
    """(minutes, whether they are coded) -> annotation files; each written once."""

    @cache
    def written(minutes: float, coded: bool) -> dict[str, Path]:
        form = {"fps": 2} if coded else {"fps": 1, "video_format": "npy"}
        form |= {"seed": 1, "edition": 1}
        split = Settings(num_streams=3, min_minutes=minutes, max_minutes=minutes, **form)
        return write_split(tmp_path_factory.mktemp("mini"), split)

    return written


def replies(policy: str, files: dict[str, Path]) -> dict[str, list[bool]]:
    """Group -> right or wrong, with options and in words alike."""
    options = {"max_new_tokens": 4, "dtype": DTYPE}
    settings = RunSettings(str(FOLDER), KV_SIZES[policy], 1, True, policy, **options)
    engine = load_engine(settings, DEVICE)
    found: dict[str, list[bool]] = {group: [] for group in GROUPS}
    for kind in (CHOICE, WORDS):
        for video in videos_of(files[kind]):
            for row in HermesVQA(engine, settings, "test").analyze_a_video(video):
                question = video.questions[row.question_index]
                word = normalised(row.prediction) == normalised(question.answer)
                found[KINDS[question.task]].append(bool(row.correct) if kind == CHOICE else word)
    return found


@pytest.fixture(scope="module", params=list(KV_SIZES))
def answered(request, streams):
    return request.param, replies(request.param, streams(MINUTES[request.param], CODED))


def test_it_answers_as_well_as_it_did(answered):
    """Not below the 95 % interval of what was measured; another CPU may round otherwise."""
    assert not lost_answers(*answered)


def test_it_answers_as_well_on_frames_that_were_never_coded(streams):
    """Where PyAV is missing the streams above are these."""
    assert not lost_answers("hermes", replies("hermes", streams(MINUTES["hermes"], False)))


def lost_answers(policy: str, found: dict[str, list[bool]]) -> dict[str, str]:
    """Groups answered worse than measured."""
    lost = {}
    for (group, right), measured in zip(found.items(), MEASURED[policy], strict=True):
        least = clopper_pearson(measured / len(right), len(right))[0] * len(right)
        if sum(right) < least:
            lost[group] = f"{sum(right)} of {len(right)} right, at least {least:.1f} expected"
    return lost
