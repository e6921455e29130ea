"""Other turns before a question: one pass gives what a stream for every question would give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from runner_helpers import choice, videos_with
from tiny import open_stream

from inference import AbstractHermes
from video_qa.hermes_vqa import HermesVQA
from video_qa.lanes.lanes import SharedWatch
from video_qa.lanes.turns import LANES, SEED, other_turns
from video_qa.questions.annotation_file import load_annotations
from video_qa.questions.annotations import Video
from video_qa.settings.run_identity import run_identity
from video_qa.settings.run_settings import RunSettings, SettingsError, fingerprint

SETTINGS = RunSettings(
    "tiny", kv_size=24, sample_fps=1, streaming=True, max_new_tokens=5, chunk_frames=8
)
POLICIES = ("hermes", "two_speed", "rekv", "last_frames")
SPEED = {"decode_workers": None, "execution": "auto"}
TIMES = (3, 11, 11, 21)


@pytest.fixture
def llava(load: Callable[[str], AbstractHermes]) -> AbstractHermes:
    """One family where the other would say the same."""
    return load("llava")


@pytest.fixture
def video(tmp_path: Path) -> Video:
    texts = ("what is red", "who", "where did the cat go", "how many")
    asked = [choice(text, end) for text, end in zip(texts, TIMES, strict=True)]
    return load_annotations(videos_with(tmp_path, [asked], num_frames=22))[0]


def stream_of(base: AbstractHermes, policy: str) -> AbstractHermes:
    name, _, option = policy.partition(":")
    return open_stream(base, policy=name, **({"use_history": False} if option else {}))


def answers(
    base: AbstractHermes, video: Video, turns: str, stored: int = 0, policies=POLICIES
) -> dict[str, list[str]]:
    """Policy -> its answers from question `stored` on, all policies side by side."""
    lanes = {
        LANES[turns](stream_of(base, policy), replace(SETTINGS, policy=policy, turns=turns), ""): (
            policy
        )
        for policy in policies
    }
    known = dict.fromkeys(range(stored), "(A")
    found: dict[str, list[str]] = {policy: [] for policy in policies}
    for lane, row in SharedWatch(base, SETTINGS).analyze(video, dict.fromkeys(lanes, known)):
        assert row.error is None, row.error
        found[lanes[lane]].append(row.prediction)
    return found


def last_answer(base: AbstractHermes, video: Video, policy: str, numbers: list[int]) -> str:
    """Of a stream of its own that is asked these questions, each at the time of its turn but the
    last one, whose time is its own."""
    asked = [
        replace(video.questions[number], end_time_seconds=video.questions[turn].end_time_seconds)
        for turn, number in enumerate(numbers[:-1])
    ]
    own = replace(video, questions=(*asked, video.questions[numbers[-1]]))
    engine = stream_of(base, policy)
    return list(HermesVQA(engine, SETTINGS, "").analyze_a_video(own))[-1].prediction


def test_a_question_alone_is_answered_as_by_a_stream_that_is_asked_nothing_else(
    base: AbstractHermes, video: Video
) -> None:
    found = answers(base, video, "alone")
    for policy in POLICIES:
        expected = [last_answer(base, video, policy, [number]) for number in range(len(TIMES))]
        assert found[policy] == expected, policy
        assert len(set(expected)) > 2, policy  # answers that could be mixed up


def test_shuffled_turns_are_a_stream_for_every_question(
    llava: AbstractHermes, video: Video
) -> None:
    order = other_turns(len(TIMES), f"{SEED} {video.index}")
    policies = ("hermes", "rekv")
    found = answers(llava, video, "shuffled", policies=policies)
    for policy in policies:
        for number in range(len(TIMES)):
            expected = last_answer(llava, video, policy, [*order[:number], number])
            assert found[policy][number] == expected, (policy, number)


def test_who_is_steered_by_the_dialogue(llava: AbstractHermes, video: Video) -> None:
    found = {turns: answers(llava, video, turns) for turns in LANES}
    changed = {name for name in POLICIES if found["in_order"][name] != found["shuffled"][name]}
    assert changed == {"hermes"} and "hermes" in POLICIES
    assert found["in_order"]["two_speed"] != found["alone"]["two_speed"]  # chunks end elsewhere


@pytest.mark.parametrize("turns", LANES)
def test_a_resumed_run_goes_on_as_if_it_had_not_stopped(
    llava: AbstractHermes, video: Video, turns: str
) -> None:
    policies = ("two_speed", "last_frames") if turns == "in_order" else ("hermes", "rekv")
    whole = answers(llava, video, turns, policies=policies)
    rest = answers(llava, video, turns, stored=2, policies=policies)
    assert rest == {policy: texts[2:] for policy, texts in whole.items()}


def test_turns_stand_neither_at_their_place_nor_before_it() -> None:
    assert other_turns(2) == [0, 1]
    for count in (3, 4, 20):
        orders = {tuple(other_turns(count, seed)) for seed in range(30)}
        assert len(orders) == (1 if count == 3 else len(orders)) and len(orders) >= 1
        for order in orders:
            assert sorted(order) == list(range(count))
            assert all(turn - place not in (0, 1) for place, turn in enumerate(order))
    assert len({tuple(other_turns(20, seed)) for seed in range(30)}) == 30


def test_runs_in_order_are_the_runs_of_before(tmp_path: Path) -> None:
    (path := tmp_path / "annotations.json").write_text("[]")
    settings = replace(SETTINGS, model=str(tmp_path))
    identities = [run_identity(replace(settings, turns=turns), path, "cpu") for turns in LANES]
    assert [identity.get("turns") for identity in identities] == [None, "shuffled", "alone"]
    assert len({fingerprint(identity) for identity in identities}) == 3
    assert RunSettings.among(identities[0] | SPEED) == settings
    with pytest.raises(SettingsError, match="in_order, shuffled, alone"):
        replace(SETTINGS, turns="backwards")
