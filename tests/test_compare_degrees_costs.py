"""What each memory costs, measured in one session, and how long a plan takes by it."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from invented_costs import COSTS, session

from reproduction.degrees import command
from reproduction.degrees.costs import session as session_module
from reproduction.degrees.costs.measured import Costs, CostsError, Measured, Run
from reproduction.degrees.costs.session import ROUNDS, in_rounds, measure, one_thread, round_orders
from reproduction.degrees.estimate import START_SECONDS, estimate_lines, seconds_of
from reproduction.degrees.owed import Owed, OwedRun, owed_by_all
from reproduction.degrees.page.costs_table import costs
from reproduction.degrees.plan import LENGTHS, Comparison, World
from reproduction.degrees.run import arguments_of
from reproduction.degrees.streams import annotations_of
from video_qa.comparison.arguments import FLOORS, parser
from video_qa.comparison.plans import plan_runs
from video_qa.lanes.plan import ComparedRun
from video_qa.launchers.local import LocalLauncher
from video_qa.nanostream.write import Settings, write_split
from video_qa.results.prediction import Prediction
from video_qa.results.predictions import write_predictions

RUNS: list[Run] = [(name, 64) for name in ("a", "b", "c", "d", "e", "f", "g")]


def test_every_memory_watches_once_a_round_and_then_backwards() -> None:
    orders = list(round_orders(RUNS, ROUNDS))
    assert len(orders) == ROUNDS and all(sorted(order) == RUNS for order in orders)
    assert all(there[::-1] == back for there, back in zip(orders[::2], orders[1::2], strict=True))
    assert len({order[0] for order in orders}) == len(RUNS)  # none is always the first


def _on_a_machine_that_tires() -> Callable[[Run], Costs]:
    """All memories cost the same, but everything takes longer and longer: four times in the end."""
    clock = iter(range(ROUNDS * len(RUNS)))

    def watch(run: Run) -> Costs:
        slow = 1 + 3 * next(clock) / (ROUNDS * len(RUNS) - 1)
        return replace(
            COSTS,
            policy=run[0],
            compression_p50_seconds=0.003 * slow,
            compression_by_round_seconds=(0.003 * slow,),
        )

    return watch


def test_what_the_machine_does_meanwhile_hits_all_alike() -> None:
    found = in_rounds(RUNS, _on_a_machine_that_tires(), ROUNDS)
    assert list(found) == RUNS
    middle = [one.compression_p50_seconds for one in found.values()]
    assert middle == pytest.approx([0.003 * 2.5] * len(RUNS))
    by_round = found["a", 64].compression_by_round_seconds
    assert len(by_round) == ROUNDS and by_round[0] == 0.003 and by_round[-1] > 0.009

    watch = _on_a_machine_that_tires()  # one after the other, as it must not be
    alone = [in_rounds([run], watch, ROUNDS)[run].compression_p50_seconds for run in RUNS]
    assert max(alone) > 2.5 * min(alone)


def test_who_cannot_serve_is_named_and_not_measured_for_ever(tmp_path: Path) -> None:
    assert list(in_rounds(RUNS, lambda run: None if run[0] == "b" else COSTS, 2)) == [
        run for run in RUNS if run[0] != "b"
    ]
    known = session(refused=(("b", 64),))
    assert known.covers([("hermes", 64), ("b", 64)]) and not known.covers([("hermes", 32)])
    known.write(tmp_path)
    assert Measured.read(tmp_path / "costs.json") == known


@pytest.fixture
def measured_runs(monkeypatch: pytest.MonkeyPatch) -> list[list[Run]]:
    """What was measured, call by call, without measuring."""
    calls: list[list[Run]] = []

    def pretend(runs: Sequence[Run], _: Path) -> Measured:
        calls.append(list(runs))
        own = [replace(COSTS, policy=name, answer_seconds=0.5) for name, _ in runs]
        return replace(session(own), measured_at="now")

    monkeypatch.setattr(command, "measure", pretend)
    return calls


BOTH: list[Run] = [("hermes", 64), ("recent", 64)]


@pytest.mark.parametrize("runs_again", [False, True])
def test_one_missing_memory_has_all_measured_again(
    tmp_path: Path, measured_runs: list[list[Run]], runs_again: bool
) -> None:
    session().write(tmp_path)
    arguments = Namespace(out=tmp_path, measure_costs=False)
    command.measure_costs(BOTH[:1], Path(), arguments)
    assert measured_runs == []
    if runs_again:  # on purpose
        command.measure_costs(BOTH[:1], Path(), Namespace(out=tmp_path, measure_costs=True))
    else:
        command.measure_costs(BOTH, Path(), arguments)
    found = Measured.read(tmp_path / "costs.json")
    assert measured_runs == [BOTH[:1] if runs_again else BOTH] and found.measured_at == "now"
    assert all(one.answer_seconds == 0.5 for one in found.costs.values())


def test_a_file_of_several_sessions_is_not_mixed_with_a_new_one(
    tmp_path: Path, measured_runs: list[list[Run]], caplog: pytest.LogCaptureFixture
) -> None:
    fields = ("machine", "num_frames", "num_questions", "vision_seconds_per_frame")
    content = {name: asdict(session())[name] for name in fields}
    old = {name: value for name, value in asdict(COSTS).items() if "by_round" not in name}
    both = [old, old | {"policy": "recent"}]
    (path := tmp_path / "costs.json").write_text(json.dumps(content | {"costs": both}))
    with pytest.raises(CostsError, match="--measure_costs"):
        Measured.read(path)
    command.measure_costs(BOTH, Path(), Namespace(out=tmp_path, measure_costs=False))
    assert measured_runs == [BOTH] and Measured.read(path).costs["hermes", 64].answer_seconds == 0.5
    assert "not of one session" in caplog.text


def test_costs_are_measured_without_a_comparison(
    tmp_path: Path,
    measured_runs: list[list[Run]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(command, "run_all", lambda *_: pytest.fail("nothing else is to run"))
    given = [f"--out={tmp_path}", f"--data={tmp_path}", "--only_report"]
    assert command.main([*given, "--measure_costs", "--policies=hermes"]) == 2  # nothing to report
    assert measured_runs == [[(name, 64) for name in ("hermes", *FLOORS)]]
    assert "other work had the core for 50 %" in caplog.text
    assert (tmp_path / "costs.json").exists()
    assert command.main([*given, "--policies=two_speed"]) == 2 and len(measured_runs) == 1


def test_on_a_quiet_machine_there_is_nothing_to_say() -> None:
    quiet = replace(session(), cpu_share=0.95)
    assert "Other work" not in "".join(costs(quiet, 64))
    assert "Other work" in "".join(costs(session(), 64))


def test_one_thread_is_all_there_is_inside() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(KeyError), one_thread():
            assert torch.get_num_threads() == 1
            raise KeyError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.fixture(scope="module")
def streams(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of data with the first world, one short stream in it."""
    world = World("clean", LENGTHS[0])
    root = tmp_path_factory.mktemp("data")
    settings = Settings(
        num_streams=1, min_minutes=0.4, max_minutes=0.4, fps=1, questions_per_task=1
    )
    write_split(root / world.name, settings)["nanostream"].rename(annotations_of(world, root))
    return root


def test_costs_are_those_of_one_memory_alone(
    streams: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "ROUNDS", 2)
    names = ("recent", "last_frames", "shallow_stream")
    path = annotations_of(World("clean", LENGTHS[0]), streams)
    cannot = ("last_frames:num_frames=0", 32)
    found = measure([*((name, 32) for name in names), cannot], path)
    own = {policy: one for (policy, _), one in found.costs.items()}
    assert [one.layers_per_frame for one in own.values()] == [8, 0, 4]
    assert own["recent"].tokens_per_layer == 32
    assert own["shallow_stream"].host_bytes > 0 == own["recent"].host_bytes
    assert own["recent"].ingest_seconds_per_frame > found.vision_seconds_per_frame / 2
    assert found.num_questions <= 40 and found.num_frames <= 24 and found.num_rounds == 2
    assert found.refused == (cannot,)
    assert len(own["recent"].first_token_by_round_seconds) == 2 and 0 < found.cpu_share <= 1


def _comparison(part: str = "memories", other: str = "recent") -> Comparison:
    return Comparison(part, World("clean", LENGTHS[0]), 1.0, ("hermes", other), (64, 32), 2)


def test_of_streams_not_yet_written_everything_is_owed(tmp_path: Path) -> None:
    (owed,) = owed_by_all([_comparison()], tmp_path, tmp_path)
    assert len(owed.runs) == 4 and owed.streams == {0, 1}
    assert all(run.num_questions == 2 * 17 * 5 for run in owed.runs)


@pytest.fixture
def twice(streams: Path, tmp_path: Path) -> Path:
    """The same stream twice, as data."""
    path = annotations_of(World("clean", LENGTHS[0]), tmp_path / "data")
    video = json.loads(annotations_of(World("clean", LENGTHS[0]), streams).read_text())[0]
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps([video, video | {"video_id": "again"}]))
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


def test_what_is_answered_is_not_owed(twice: Path, tmp_path: Path) -> None:
    root = tmp_path / "out"
    runs = _compared(twice, root)
    half = len(runs["hermes", 64][1]) // 2
    stored = {("hermes", 64): 2 * half, ("hermes", 32): half + 3, ("recent", 64): half}
    for name, count in stored.items():
        run, answers = runs[name]
        _record(run)
        write_predictions(run.folder / "predictions.jsonl", answers[:half])
        if count > half:  # what a worker that was killed left behind
            write_predictions(run.folder / "1_0.jsonl", answers[half:count])
    (owed,) = owed_by_all([_comparison()], twice, root)
    assert {(one.policy, one.kv_size): one for one in owed.runs} == {
        ("hermes", 32): OwedRun("hermes", 32, frozenset({1}), half - 3),
        ("recent", 64): OwedRun("recent", 64, frozenset({1}), half),
        ("recent", 32): OwedRun("recent", 32, frozenset({0, 1}), 2 * half),
    }
    (runs["hermes", 64][0].folder / "retention.json").unlink()
    (owed,) = owed_by_all([_comparison()], twice, root)
    assert OwedRun("hermes", 64, frozenset({0}), 0) in owed.runs  # to record what memory holds


def test_a_run_of_two_parts_is_owed_once(twice: Path, tmp_path: Path) -> None:
    parts = [_comparison(), _comparison("trade", "two_speed")]
    first, second = owed_by_all(parts, twice, tmp_path / "out")
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
    assert "--measure_costs" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
