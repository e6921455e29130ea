"""What each memory costs, measured in one session."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from invented_costs import COSTS, session

from reproduction.degrees import command
from reproduction.degrees.costs import session as session_module
from reproduction.degrees.costs.measured import Costs, CostsError, Measured, Run
from reproduction.degrees.costs.session import ROUNDS, in_rounds, measure, one_thread, round_orders
from reproduction.degrees.page.costs_table import costs
from video_qa.comparison.arguments import FLOORS
from video_qa.nanostream.write import Settings, write_split

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


def test_of_what_was_known_nothing_is_lost(tmp_path: Path, measured_runs: list[list[Run]]) -> None:
    """Other memories are asked for than those of the earlier session."""
    session(refused=(("cannot", 64),)).write(tmp_path)
    asked: list[Run] = [("recent", 64), ("uniform", 64)]
    command.measure_costs(asked, Path(), Namespace(out=tmp_path, measure_costs=True))
    assert measured_runs == [[*asked, ("hermes", 64), ("cannot", 64)]]
    found = Measured.read(tmp_path / "costs.json")
    assert found.covers([*asked, ("hermes", 64), ("cannot", 64)])
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
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(command, "run_all", lambda *_: pytest.fail("nothing else is to run"))
    given = [f"--out={tmp_path}", f"--data={tmp_path}", "--only_report"]
    assert command.main([*given, "--measure_costs", "--policies=hermes"]) == 0
    assert "there is nothing to report yet" in capsys.readouterr().out
    assert measured_runs == [[(name, 64) for name in ("hermes", *FLOORS)]]
    assert "other work had the core for 50 %" in caplog.text
    assert (tmp_path / "costs.json").exists()
    assert command.main([*given, "--policies=two_speed"]) == 2 and len(measured_runs) == 1
    nothing = ["--measure_costs", "--streams_4x=0", "--streams_16x=0"]
    assert command.main([*given, *nothing]) == 2 and len(measured_runs) == 1


def test_without_streams_the_error_says_how_to_get_them(tmp_path: Path, capsys) -> None:
    given = [f"--out={tmp_path}", f"--data={tmp_path / 'data'}", "--only_report"]
    assert command.main([*given, "--measure_costs"]) == 2
    complaint = capsys.readouterr().err
    assert "write the streams first: --only_streams" in complaint and "anno_path" not in complaint
    assert str(tmp_path / "data" / "clean_4x_q5") in complaint


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


@pytest.fixture
def num_threads() -> Iterator[list[int]]:
    """Of torch, each time a memory watches; outside there are two."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield []
    torch.set_num_threads(before)


@pytest.mark.parametrize(("cpu_seconds", "share"), [(0.0, 0.0), (4.0, 0.4), (11.0, 1.0)])
def test_a_session_has_one_thread_and_sees_the_frames_alone_once_a_round(
    monkeypatch: pytest.MonkeyPatch, num_threads: list[int], cpu_seconds: float, share: float
) -> None:
    """Ten seconds by the clock, of which it had the core for some."""
    vision, wall, cpu = count(1), iter((100.0, 110.0)), iter((7.0, 7.0 + cpu_seconds))

    def costs_of_run(_: object, settings: Any, __: object) -> Costs:
        num_threads.append(torch.get_num_threads())
        return replace(COSTS, policy=settings.policy)

    watched = Namespace(frames=range(100), stops=range(3))
    clocks = Namespace(perf_counter=wall.__next__, process_time=cpu.__next__)
    fakes = {"_watched": lambda _: watched, "load_engine": lambda *_: None, "time": clocks}
    fakes |= {"costs_of_run": costs_of_run, "vision_seconds": lambda *_: float(next(vision))}
    for name, fake in fakes.items():
        monkeypatch.setattr(session_module, name, fake)
    found = measure(RUNS, Path())
    assert num_threads == [1] * (1 + ROUNDS * len(RUNS))  # one to get warm
    assert next(vision) == ROUNDS + 1
    assert found.vision_seconds_per_frame == (ROUNDS + 1) / 2 / 100  # the median of 1 to ROUNDS
    assert found.cpu_share == share and list(found.costs) == RUNS


def test_costs_are_those_of_one_memory_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = Settings(num_streams=1, min_minutes=0.4, max_minutes=0.4, fps=1, questions_per_task=1)
    path = write_split(tmp_path, short)["nanostream"]
    monkeypatch.setattr(session_module, "ROUNDS", 2)
    names = ("recent", "last_frames", "shallow_stream")
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
