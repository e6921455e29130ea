"""What a plan has still to do, and how long it takes by measured costs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from invented_costs import session
from runner_helpers import choice, videos_with

from reproduction.degrees import command
from reproduction.degrees.costs.measured import Run
from reproduction.degrees.estimate import START_SECONDS, estimate_lines, seconds_of
from reproduction.degrees.owed import Owed, OwedRun, owed_by_all
from reproduction.degrees.plan import LENGTHS, Comparison, World
from reproduction.degrees.run import arguments_of
from reproduction.degrees.streams import annotations_of
from video_qa.comparison.arguments import parser
from video_qa.comparison.plans import plan_runs
from video_qa.lanes.plan import ComparedRun
from video_qa.launchers.local import LocalLauncher
from video_qa.results.prediction import Prediction
from video_qa.results.predictions import write_predictions


def _comparison(part: str = "memories", other: str = "recent") -> Comparison:
    return Comparison(part, World("clean", LENGTHS[0]), 1.0, ("hermes", other), (64, 32), 2)


def test_of_streams_not_yet_written_everything_is_owed(tmp_path: Path) -> None:
    (owed,) = owed_by_all([_comparison()], tmp_path, tmp_path)
    assert len(owed.runs) == 4 and owed.streams == {0, 1}
    assert all(run.num_questions == 2 * 17 * 5 for run in owed.runs)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two streams, four questions about each."""
    asked = [choice(f"what of {i}", 5.0 * (i + 1), task="now_colour") for i in range(4)]
    path = annotations_of(_comparison().world, tmp_path / "data")
    path.parent.mkdir(parents=True)
    videos_with(tmp_path, [asked, asked]).rename(path)
    return tmp_path / "data"


def _compared(data: Path, root: Path) -> dict[Run, tuple[ComparedRun, list[Prediction]]]:
    """Each run of the comparison with all answers it could have."""
    arguments = parser("", "").parse_args(arguments_of(_comparison(), data, root, 1))
    plans = plan_runs(arguments, LocalLauncher(), arguments.policies)
    return {
        (run.settings.policy, run.settings.kv_size): (
            run,
            [
                Prediction(run.run_id, v.index, v.video_id, i, question.question, 1.0, "A", "A")
                for v in plan.videos
                for i, question in enumerate(v.questions)
            ],
        )
        for run, plan in plans.items()
    }


def _record(run: ComparedRun) -> None:
    run.folder.mkdir(parents=True)
    (run.folder / "retention.json").write_text(json.dumps({"run_id": run.run_id}))


def test_what_is_answered_is_not_owed(data: Path, tmp_path: Path) -> None:
    root = tmp_path / "out"
    runs = _compared(data, root)
    half = len(runs["hermes", 64][1]) // 2
    stored = {("hermes", 64): 2 * half, ("hermes", 32): half + 3, ("recent", 64): half}
    for name, count in stored.items():
        run, answers = runs[name]
        _record(run)
        write_predictions(run.folder / "predictions.jsonl", answers[:half])
        if count > half:  # what a worker that was killed left behind
            write_predictions(run.folder / "1_0.jsonl", answers[half:count])
    (owed,) = owed_by_all([_comparison()], data, root)
    assert {(one.policy, one.kv_size): one for one in owed.runs} == {
        ("hermes", 32): OwedRun("hermes", 32, frozenset({1}), half - 3),
        ("recent", 64): OwedRun("recent", 64, frozenset({1}), half),
        ("recent", 32): OwedRun("recent", 32, frozenset({0, 1}), 2 * half),
    }
    (runs["hermes", 64][0].folder / "retention.json").unlink()
    (owed,) = owed_by_all([_comparison()], data, root)
    assert OwedRun("hermes", 64, frozenset({0}), 0) in owed.runs  # to record what memory holds


def test_a_run_of_two_parts_is_owed_once(data: Path, tmp_path: Path) -> None:
    parts = [_comparison(), _comparison("trade", "two_speed")]
    first, second = owed_by_all(parts, data, tmp_path / "out")
    assert len(first.runs) == 4
    assert {run.policy for run in second.runs} == {"two_speed"}


def _owed(num_streams: int, policies: Sequence[str] = ("hermes", "hermes:x=1")) -> Owed:
    world = World("clean", replace(LENGTHS[0], seconds=100, questions_per_task=2))
    streams, questions = frozenset(range(num_streams)), 34 * num_streams
    runs = tuple(OwedRun(policy, 64, streams, questions) for policy in policies)
    return Owed(Comparison("memories", world, 2.0, tuple(policies), (64,), num_streams), runs)


def test_the_estimate_shares_the_vision_tower_and_counts_cpu_time() -> None:
    per_stream = 0.5 * (200 * 0.001 + 2 * (200 * 0.003 + 34 * 0.02))
    for num_streams, in_turn in ((10, 5), (3, 2), (1, 1)):
        expected = START_SECONDS + in_turn * per_stream
        assert seconds_of(_owed(num_streams), session(), 2) == pytest.approx(expected)


def test_what_is_finished_takes_no_time() -> None:
    done, owed = replace(_owed(3), runs=()), _owed(3, ["hermes"])
    assert seconds_of(done, session(), 2) == 0
    lines = estimate_lines([done, owed], session(), 2)
    assert lines[0].endswith("finished")
    assert "3 streams, 1 of 1 runs, 102 answers" in lines[1]


def test_a_dry_run_runs_nothing(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    session().write(tmp_path / "out")
    given = [f"--out={tmp_path / 'out'}", f"--data={tmp_path}", "--dry_run", "--streams_16x=0"]
    assert command.main([*given, "--degrees=busy", "--parts=memories", "--policies=hermes"]) == 0
    assert "40 streams, 9 of 9 runs, 30600 answers" in capsys.readouterr().out
    monkeypatch.setattr(command, "COMMITTED", tmp_path)
    (tmp_path / "out" / "costs.json").write_text("{}")
    assert command.main(given) == 2
    complaint = capsys.readouterr().err
    assert complaint.index("without --dry_run") < complaint.index("--only_streams")
    assert "then measure: --only_report --measure_costs" in complaint
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_fresh_checkout_has_costs_to_estimate_by(tmp_path: Path, capsys) -> None:
    assert command.measured_in(command.COMMITTED) is not None
    given = [f"--out={tmp_path}", f"--data={tmp_path}", "--dry_run", "--parts=memories"]
    assert command.main([*given, "--degrees=busy", "--policies=hermes", "--streams_16x=0"]) == 0
    assert "40 streams, 9 of 9 runs" in capsys.readouterr().out
