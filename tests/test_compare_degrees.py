"""All memories on all degrees: the plan, and what the page says of invented runs."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from compared_runs import SKILL, finished_comparison
from invented_costs import COSTS, session

from hermes.policies import POLICIES
from reproduction.degrees import command, plan
from reproduction.degrees.arguments import parser, plan_of
from reproduction.degrees.page import figures
from reproduction.degrees.page.goals import goals, leads_on_best
from reproduction.degrees.plan import LENGTHS, MEMORIES, Comparison, Plan, World
from reproduction.degrees.run import arguments_of
from video_qa.comparison.arguments import FLOORS


def asked(*given: str) -> Plan:
    return plan_of(parser("").parse_args(given))


def test_every_memory_of_the_registry_is_compared() -> None:
    assert set(MEMORIES) == set(POLICIES) - {"none", "blank_frames"}
    assert set(plan.AT_OTHER_RATES) <= set(MEMORIES) and len(plan.AT_OTHER_RATES) == 6
    rated = next(c for c in asked("--parts=rates", "--ours=keyrec").comparisons())
    assert rated.policies[0] == "keyrec" and set(rated.policies) == set(plan.AT_OTHER_RATES)


def test_the_whole_is_every_degree_length_and_rate() -> None:
    everything = list(asked().comparisons())
    cases = {(c.part, c.world.degree, c.world.length.name, c.sample_fps) for c in everything}
    degrees = ("clean", "noisy", "busy", "rich")
    assert cases >= {("memories", d, length, 1.0) for d in degrees for length in ("4x", "16x")}
    assert {case[1:] for case in cases if case[0] == "rates"} == {
        (degree, "4x", rate) for degree in degrees for rate in (0.5, 2.0)
    }
    assert [c.num_streams for c in everything[:8]] == [40] * 4 + [6] * 4
    assert len({c.folder(Path()) for c in everything}) == len(everything)


def test_less_can_be_asked_for() -> None:
    given = ("--degrees=busy", "--streams_4x=3", "--streams_16x=0", "--budgets=64", "--rates=")
    found = list(asked(*given, "--parts=memories,rates", "--policies=recent,hermes").comparisons())
    world = World("busy", LENGTHS[0])
    policies = ("recent", "hermes", *FLOORS)
    assert found == [Comparison("memories", world, 1.0, policies, (64,), 3)]
    line = arguments_of(found[0], Path("data"), Path("out"), 2)
    assert (
        "--limit=3" in line
        and "--policies=recent,hermes,blank_frames,last_frames:num_frames=1" in line
    )


@pytest.mark.parametrize("wrong", ["--degrees=foggy", "--streams_4x=41", "--budgets=many"])
def test_what_is_not_there_cannot_be_asked_for(wrong: str, capsys) -> None:
    with pytest.raises(SystemExit):
        asked(wrong)
    assert "expected" in (text := capsys.readouterr().err) or "known: clean" in text


POLICIES_HERE = ["two_speed", "hermes", "recent", "uniform"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """Invented runs of two degrees in the folders of a plan."""
    root = tmp_path_factory.mktemp("degrees")
    for degree, num_videos in (("clean", 20), ("busy", 3)):
        folder = Comparison("memories", World(degree, LENGTHS[0]), 1.0, (), (), 1).folder(root)
        finished_comparison(folder, POLICIES_HERE, [32, 64], num_videos)
    session().write(root)
    return root


def report(root: Path, *more: str) -> tuple[int, str]:
    code = command.main([f"--out={root}", "--only_report", *more])
    return code, (root / "comparison.md").read_text() if code == 0 else ""


def test_the_page_says_who_is_best_and_who_may_be(finished: Path, capsys) -> None:
    code, page = report(finished)
    assert code == 0 and "NOT reached" in capsys.readouterr().out
    table = pd.read_csv(finished / "comparison" / "accuracies.csv")
    own = table[(table["degree"] == "clean") & (table["kv_size"] == 64)]
    far = own[own["group"] == "far past"].set_index("policy")["accuracy_percent"]
    raw = pd.read_csv(finished / "clean_4x_q5" / "memories-fps1" / "comparison.csv")
    rows = raw[(raw["kv_size"] == 64) & (raw["task"] == "far_colour")]
    assert far.to_dict() == pytest.approx(rows.groupby("policy")["qa_acc"].mean().to_dict())
    line = next(line for line in page.splitlines() if line.startswith("| clean | far |"))
    assert line.split("|")[3].split()[0] == far.idxmax() and f" {far.max():.1f} (" in line
    assert SKILL["recent"][2] < 0.5 and "recent" not in line  # beaten by far
    assert page.count("3 videos cannot tell any apart") == 2 * 6
    assert "| hermes | 64 | 64 | 7.0 MiB | 0 | 5.0 (4.5–8.0) ms | 9.0 ms |" in page
    assert "--robustness results/dialogue/nano/nanostream/robustness-fps1/robustness.json" in page
    assert "--kv_sizes 64" in page and "video_qa/robustness.py" in page
    assert "Other work had the core for 50 % of the session" in page
    assert "in one session of 3 rounds" in page and "2026-11-26T05:00" in page


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages without figures, which take long."""
    for name in ("all_questions", "far_against_recent"):
        monkeypatch.setattr(figures, name, lambda *_: "")


@pytest.mark.usefixtures("undrawn")
def test_how_costs_were_measured_is_no_part_of_how_the_page_was_made(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "measure_costs", lambda *_: None)
    code, page = report(finished, "--measure_costs", "--kin=uniform")
    assert code == 0
    assert f"    python scripts/compare_degrees.py --out={finished} --kin=uniform\n" in page


def test_the_tables_are_for_pandas_and_the_figures_are_drawn(
    finished: Path, tmp_path: Path
) -> None:
    assert report(finished, f"--docs={tmp_path}", "--kin=uniform")[0] == 0
    differences = pd.read_csv(tmp_path / "comparison/differences.csv")
    assert set(differences["other"]) == {"hermes", "recent"}
    assert len(json.loads((finished / "comparison/differences.json").read_text())) == len(
        differences
    )
    case = differences[(differences["degree"] == "clean") & (differences["kv_size"] == 32)]
    for group in set(case["group"]):
        best = leads_on_best(case, group).iloc[0]
        assert best["difference_points"] == case[case["group"] == group]["difference_points"].min()
    for name in ("all_questions", "far_against_recent"):
        drawing = (tmp_path / f"comparison/{name}.svg").read_text()
        assert "two_speed" in drawing and "busy" in drawing
    links = re.findall(r"\]\(([^)]+)\)", (tmp_path / "comparison.md").read_text())
    assert links and all((tmp_path / link).exists() for link in links)


ROWS = [
    {
        "policy": policy,
        "kv_size": 64,
        "turns": turns,
        "changed": {"share_percent": share, "interval95_percent": None, "n": 83, "num_videos": 10},
    }
    for policy, shares in {"hermes": (11.4, 15.5), "recent": (0.0, 2.2)}.items()
    for turns, share in zip(("shuffled", "alone"), shares, strict=True)
]


@pytest.mark.usefixtures("undrawn")
def test_what_dialogue_changes_is_a_table_where_it_was_measured(
    finished: Path, tmp_path: Path
) -> None:
    (given := tmp_path / "given.json").write_text(
        json.dumps({"dataset": "nanostream", "rows": ROWS})
    )
    code, page = report(finished, f"--robustness={given}", f"--docs={tmp_path / 'docs'}")
    assert code == 0 and "| hermes | 64 | 11.4 | 15.5 |\n| recent | 64 | 0.0 | 2.2 |" in page
    assert "(10 streams, 83 questions;" in page and "video_qa/robustness.py" not in page
    beside = tmp_path / "docs" / "comparison" / "robustness.json"
    assert json.loads(beside.read_text())["rows"] == ROWS
    assert "those of one folder, so of one degree alone" in page and "docs/robustness.md" in page


@pytest.mark.usefixtures("undrawn")
def test_the_page_names_the_streams_of_the_dialogue_where_its_file_does(
    finished: Path, tmp_path: Path
) -> None:
    numbers = {"dataset": "nanostream", "rows": ROWS, "anno_path": "data/busy/test.json"}
    (given := tmp_path / "given.json").write_text(json.dumps(numbers))
    _, page = report(finished, f"--robustness={given}")
    assert "Streams: `data/busy/test.json`.\n" in page and "one degree alone" not in page


@pytest.mark.usefixtures("undrawn")
def test_what_dialogue_changed_does_not_lie_beside_a_page_without_it(
    finished: Path, tmp_path: Path, capsys
) -> None:
    (given := tmp_path / "given.json").write_text(
        json.dumps({"dataset": "nanostream", "rows": ROWS})
    )
    report(finished, f"--robustness={given}", f"--docs={tmp_path}")
    report(finished, f"--docs={tmp_path}")
    printed = capsys.readouterr().out
    for folder in (finished, tmp_path):
        assert not (stale := folder / "comparison" / "robustness.json").exists()
        assert f"Removed: {stale}" in printed
    assert given.exists()


def _without(name: str) -> str:
    rows = [row | {"changed": {**row["changed"]}} for row in ROWS]
    del rows[-1]["changed"][name]
    return json.dumps({"dataset": "nanostream", "rows": rows})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("--policies=recent,nope", "unknown policy 'nope': expected one of blank_frames, "),
        ("--ours=nope", "unknown policy 'nope'"),
        ("--kin=nope:recent_share=0.5", "unknown policy 'nope'"),
        ("--policies=two_speed:recent_share", "expected NAME:OPTION=VALUE"),
        ("--policies=,", "expected names with commas between them"),
        ("--jobs=0", "at least 1, got '0'"),
        ("--questions_per_task=-2", "at least 1, got '-2'"),
    ],
)
def test_what_cannot_be_is_refused_by_a_dry_run_too(given, said, capsys):
    with pytest.raises(SystemExit, match="2"):
        command.main([given, "--dry_run"])
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("policy,kv_size", "is no robustness.json"),
        ("[]", "is no robustness.json"),
        ('{"dataset": "nanostream", "rows": []}', "it has no rows"),
        (json.dumps({"dataset": "ovobench", "rows": ROWS}), "is of ovobench"),
        (_without("num_videos"), "'num_videos'"),
        (_without("n"), "'n'"),
        (_without("share_percent"), "'share_percent'"),
    ],
)
def test_another_file_is_refused_before_anything_runs(
    tmp_path: Path, capsys, monkeypatch, content: str, complaint: str
) -> None:
    monkeypatch.setattr(command, "write_streams", lambda *_: pytest.fail("it has begun"))
    (given := tmp_path / "given.json").write_text(content)
    assert command.main([f"--out={tmp_path}", f"--robustness={given}"]) == 2
    assert complaint in capsys.readouterr().err


def test_nothing_finished_is_no_report(tmp_path: Path, capsys) -> None:
    assert report(tmp_path)[0] == 2
    assert "nothing to report" in capsys.readouterr().err


def test_other_rates_alone_have_no_page(tmp_path: Path, capsys) -> None:
    folder = Comparison("rates", World("clean", LENGTHS[0]), 2.0, (), (), 1).folder(tmp_path)
    finished_comparison(folder, POLICIES_HERE, [64], 6)
    code = command.main([f"--out={tmp_path}", "--only_report", "--parts=rates"])
    assert code == 0 and "no page without --parts memories" in capsys.readouterr().out
    assert not (tmp_path / "comparison.md").exists()


def _differences(**changed: float) -> pd.DataFrame:
    """Every goal reached, but for what is changed: (group or all)_(other) -> points ahead."""
    points = {"all_hermes": 1, "all_recent": 9, "all_uniform": 5, "far_hermes": 12}
    points |= {"far_uniform": 11, "recent_recent": -1, "counting_hermes": -2, "never_hermes": 0}
    names = {"all": "all questions", "far": "far past", "recent": "recent past"}
    names |= {"never": "unanswerable (balanced)"}
    rows = []
    for degree in ("clean", "busy"):
        for key, value in points.items():
            group, other = key.split("_")
            value = changed.get(key, value) if degree == "busy" else value
            row = {"degree": degree, "length": "4x", "sample_fps": 1.0, "kv_size": 64}
            row |= {"group": names.get(group, group), "policy": "two_speed", "other": other}
            bound = changed.get("bound", value - 2) if degree == "busy" else value - 2
            rows.append(row | {"difference_points": value, "lower_bound_points": bound})
    return pd.DataFrame(rows)


def test_goals_are_reached_by_whom_reaches_them() -> None:
    assert all(goal.is_reached for goal in goals(_differences(), "two_speed", None))
    assert len(list(goals(_differences(), "two_speed", None))) == 7


@pytest.mark.parametrize(
    ("changed", "goal"),
    [
        ({"bound": -3.5}, "lower bound"),
        ({"all_recent": -0.5}, "ahead of each"),
        ({"far_uniform": 8}, "above uniform"),
        ({"recent_recent": -2.5}, "within 2 points"),
        ({"counting_hermes": -3.5}, "counting"),
        ({"never_hermes": -3.5}, "unanswerable"),
    ],
)
def test_one_case_is_enough_to_miss_a_goal(changed: dict[str, float], goal: str) -> None:
    missed = [g for g in goals(_differences(**changed), "two_speed", None) if not g.is_reached]
    assert len(missed) == 1 and goal in missed[0].text
    assert "busy" in missed[0].worst or goal in ("ahead of each", "above uniform")


def test_compression_is_held_against_that_of_hermes() -> None:
    own = replace(COSTS, policy="two_speed", compression_p50_seconds=0.0031)
    quiet = replace(session([COSTS, own]), cpu_share=0.95)
    last = list(goals(_differences(), "two_speed", quiet))[-1]
    assert not last.is_reached and "(median)" in last.text
    assert "3.1 (2.5–3.5) ms against 3.0 (2.5–3.5) ms" in last.worst


@pytest.mark.parametrize(("fastest", "is_reached"), [(0.0024, True), (0.0026, False)])
def test_beside_other_work_the_fastest_rounds_decide(fastest: float, is_reached: bool) -> None:
    """The medians say the opposite."""
    own = replace(
        COSTS,
        policy="two_speed",
        compression_p50_seconds=0.004 if is_reached else 0.001,
        compression_by_round_seconds=(0.004, fastest, 0.005),
    )
    last = list(goals(_differences(), "two_speed", session([COSTS, own])))[-1]
    assert last.is_reached == is_reached and "fastest round, since other work" in last.text
    assert f"{1000 * fastest:.1f} (" in last.worst and "against 2.5 (2.5–3.5) ms" in last.worst


@pytest.mark.slow
def test_more_of_everything_is_added_to_what_was_run(tmp_path: Path, monkeypatch) -> None:
    """Streams, memories and budgets; what was answered is not asked again."""
    short = (replace(LENGTHS[0], seconds=20, num_streams=2, questions_per_task=1),)
    monkeypatch.setattr("reproduction.degrees.arguments.LENGTHS", short)
    monkeypatch.setattr("reproduction.degrees.arguments._count", lambda most: int)
    paths = [f"--data={tmp_path / 'data'}", f"--out={tmp_path / 'out'}", "--degrees=clean"]
    few = ["--parts=memories", "--budgets=32", "--policies=recent", "--streams_4x=1", "--jobs=1"]
    assert command.main([*paths, *few]) == 0
    answers = tmp_path / "out/clean_4x_q1/nano/nanostream/fps1.0-kv32-recent/predictions.jsonl"
    before = answers.read_text()
    assert not list((tmp_path / "out").rglob("report.html"))
    more = ["--parts=memories", "--budgets=64,32", "--policies=recent,two_speed", "--jobs=1"]
    assert command.main([*paths, *more]) == 0
    lines = answers.read_text().splitlines()
    assert lines[: len(before.splitlines())] == before.splitlines()
    table = pd.read_csv(tmp_path / "out/clean_4x_q1/memories-fps1/comparison.csv")
    assert len(table) == len(lines) * 2 * 4 and table["error"].isna().all()
    assert set(table["policy"]) == {"recent", "two_speed", *FLOORS}
