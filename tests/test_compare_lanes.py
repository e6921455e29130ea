"""Memories that watch side by side answer as if each had watched alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from runner_helpers import choice, videos_with
from tiny import contents, open_stream

from inference import AbstractHermes
from video_qa.hermes_vqa import HermesVQA
from video_qa.lanes.lanes import Lane, SharedWatch
from video_qa.lanes.retention import RetentionLog
from video_qa.questions.annotation_file import load_annotations
from video_qa.questions.annotations import Video
from video_qa.settings.run_settings import RunSettings

SETTINGS = RunSettings(
    "tiny", kv_size=24, sample_fps=1, streaming=True, max_new_tokens=2, chunk_frames=8
)
POLICIES = ("hermes", "recent", "two_speed", "rekv", "last_frames", "uniform_recent")


@pytest.fixture
def video(tmp_path: Path) -> Video:
    asked = [choice(text, end) for text, end in zip("abc", (4, 19, 33), strict=True)]
    return load_annotations(videos_with(tmp_path, [asked]))[0]


def lanes_of(base: AbstractHermes, kv_size: int = 24) -> list[Lane]:
    return [
        Lane(
            open_stream(base, policy=policy, kv_size=kv_size),
            replace(SETTINGS, policy=policy),
            f"run of {policy}",
        )
        for policy in POLICIES
    ]


def shared_rows(
    base: AbstractHermes, video: Video, answers: dict[Lane, dict[int, str]]
) -> dict[str, list[dict[str, object]]]:
    rows: dict[str, list[dict[str, object]]] = {lane.run_id: [] for lane in answers}
    for lane, prediction in SharedWatch(base, SETTINGS).analyze(video, answers):
        rows[lane.run_id].append(vars(replace(prediction, timing={})))
    return rows


def test_sharing_features_changes_no_answer_and_no_memory(
    base: AbstractHermes, video: Video, monkeypatch: pytest.MonkeyPatch
) -> None:
    lanes = lanes_of(base)
    encoded: list[int] = []
    see = type(base).see
    monkeypatch.setattr(
        type(base), "see", lambda self, frames: encoded.append(len(frames)) or see(self, frames)
    )
    shared = shared_rows(base, video, {lane: {} for lane in lanes})
    assert encoded == [4, 8, 7, 8, 6]  # each frame once; chunks end where questions are due
    monkeypatch.undo()
    for lane, policy in zip(lanes, POLICIES, strict=True):
        engine = open_stream(base, policy=policy)
        alone = HermesVQA(engine, lane.settings, lane.run_id).analyze_a_video(video)
        assert [vars(replace(p, timing={})) for p in alone] == shared[lane.run_id]
        remembered, other = contents(engine), contents(lane.model)
        for name, tensor in remembered.items():
            torch.testing.assert_close(other[name], tensor, rtol=0, atol=0, equal_nan=True)


def test_lanes_may_owe_different_questions(base: AbstractHermes, video: Video) -> None:
    whole = shared_rows(base, video, {lane: {} for lane in lanes_of(base)})
    lanes = lanes_of(base)
    done = {lane: number % 4 for number, lane in enumerate(lanes)}
    answers = {
        lane: {i: str(whole[lane.run_id][i]["prediction"]) for i in range(count)}
        for lane, count in done.items()
    }
    rest = shared_rows(base, video, answers)
    for lane, count in done.items():
        assert rest[lane.run_id] == whole[lane.run_id][count:]


def test_a_failing_memory_costs_its_own_rows_only(base: AbstractHermes, video: Video) -> None:
    good, bad = lanes_of(base)[0], lanes_of(base, kv_size=3)[1]
    rows = shared_rows(base, video, {good: {}, bad: {0: "A"}})
    assert [row["error"] for row in rows[good.run_id]] == [None] * 3
    errors = [str(row["error"]) for row in rows[bad.run_id]]
    assert len(errors) == 2 and all("visual tokens but kv_size is 3" in text for text in errors)


def test_a_missing_video_costs_every_lane_its_rows(base: AbstractHermes, video: Video) -> None:
    lanes = lanes_of(base)[:2]
    gone = replace(video, video_path="/nowhere.mp4")
    rows = shared_rows(base, gone, {lanes[0]: {}, lanes[1]: {1: "A"}})
    assert [len(rows[lane.run_id]) for lane in lanes] == [3, 2]
    assert all("no video /nowhere.mp4" in str(row["error"]) for row in rows[lanes[0].run_id])


def test_retention_counts_the_tokens_that_are_there(base: AbstractHermes, video: Video) -> None:
    lanes = lanes_of(base)
    for lane in lanes:
        lane.retention = RetentionLog(limit=2)
    shared_rows(base, video, {lane: {} for lane in lanes})
    held = {}
    for lane, policy in zip(lanes, POLICIES, strict=True):
        log = lane.retention
        assert log is not None and len(log.snapshots) <= 4
        last = log.snapshots[-1]
        assert last.seconds == 32 and last.counts.shape == (
            lane.model.num_layers,
            len(log.step_frames),
        )
        total = last.counts.sum(axis=1) + last.summaries
        held[policy] = last.counts
        expected = 24 if lane.model.policy.reprefills else lane.model.memory.num_visual
        assert set(total.tolist()) <= {expected, 24 // log.tokens_per_step * log.tokens_per_step}
    newest = held["recent"][0].nonzero()[0]
    assert newest.tolist() == list(range(newest[0], held["recent"].shape[1]))
    assert (held["last_frames"] == held["last_frames"][0]).all()
    assert held["uniform_recent"][0, 0] > 0  # its first frame is the stream's first
