"""The paper's tables: printed numbers are consistent, and the path from command to table runs."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("pydantic")  # which reads annotations
from eval.multiple_choice.tasks import NANOSTREAM, OVO, STREAMING
from hermes.policy_text import check_policy, read_policy
from inference.checkpoints.models import MODELS
from reproduction import efficiency, nano
from reproduction.checkpoint_sizes import SHAPES
from reproduction.columns import NOT_FROM_A_RUN, metric_of
from reproduction.command import main
from reproduction.estimates import estimate, memory_bytes, per_frame
from reproduction.measured import Measured
from reproduction.published import PublishedRow, PublishedTable, TableError, read_tables, tables
from reproduction.runs import Run, run_of, runs_of
from reproduction.side_by_side import Cell, side_by_side
from video_qa.lanes import worker
from video_qa.launchers import local
from video_qa.nanostream.write import Settings
from video_qa.questions.benchmarks import DATASETS
from video_qa.runner.worker_pool import WorkerTask

QUESTIONS = {"OP": 367, "ACP": 353, "TR": 321, "CS": 317, "ATP": 303, "SU": 246, "CT": 193}
QUESTIONS |= {"EU": 159, "CR": 128, "PR": 108}
"""StreamingBench as the release distributes it: 2,495."""
REAL_TIME, BACKWARD = ("OCR", "ACR", "ATR", "STU", "FPD", "OJR"), ("EPM", "ASI", "HLD")
OFF_BY = {"Dispider": 0.17, "TimeChat-Online": 0.08}
COPIED = {"Human", "Gemini-1.5-Pro (1 fps)", "GPT-4o"}
TWO_DECIMALS = 0.0201


def _values(table: str) -> Iterator[tuple[PublishedRow, dict[str, float]]]:
    for row in tables()[table].rows:
        pairs = zip(tables()[table].columns, row.values, strict=True)
        yield row, {name: value for name, value in pairs if value is not None}


def test_streamingbench_averages_are_those_over_questions():
    for row, value in _values("streaming"):
        mean = sum(QUESTIONS[task] * value[task] for task in QUESTIONS) / sum(QUESTIONS.values())
        assert abs(mean - value["avg"]) < OFF_BY.get(row.method, TWO_DECIMALS), row.label


def test_ovobench_averages_are_means_of_means():
    for row, value in _values("ovo"):
        for name, tasks in (("RT", REAL_TIME), ("BW", BACKWARD)):
            mean = sum(value[task] for task in tasks) / len(tasks)
            assert abs(mean - value[name]) < TWO_DECIMALS, row.label
        assert abs((value["RT"] + value["BW"]) / 2 - value["avg"]) < TWO_DECIMALS, row.label


def test_the_main_table_repeats_the_averages_of_the_others():
    main_rows = {_key(row): value for row, value in _values("main")}
    for table, shown in (("streaming", {"avg": "SB-RT"}), ("ovo", {"avg": "OVO avg"})):
        shown = shown | ({"RT": "OVO RT", "BW": "OVO BW"} if table == "ovo" else {})
        seen = 0
        for row, value in _values(table):
            if row.model is not None:
                seen += 1
                assert all(
                    main_rows[_key(row)][there] == value[here] for here, there in shown.items()
                )
        assert seen >= 20
    for row, value in _values("main"):
        if len(value) == 4 and row.method not in COPIED:
            assert abs((value["OVO RT"] + value["OVO BW"]) / 2 - value["OVO avg"]) < TWO_DECIMALS


def test_videomme_averages_are_means_of_equally_many_questions():
    for table in ("offline", "ablation_smoothing", "ablation_summary", "ablation_budgets"):
        for row, value in _values(table):
            parts = [value.get(f"VideoMME {name}") for name in ("short", "medium", "long")]
            if None not in parts:
                assert abs(sum(parts) / 3 - value["VideoMME avg"]) < TWO_DECIMALS, row.label


def test_ablations_start_from_the_numbers_of_the_main_table():
    main_rows = {_key(row): value for row, value in _values("main")}
    for table in ("ablation_budgets", "ablation_reindex", "ablation_guidance"):
        for row, value in _values(table):
            if row.policy in ("hermes", "hermes:reindex=lazy"):
                of_main = main_rows[row.model, "HERMES", 6000]
                assert all(value[name] == number for name, number in of_main.items()), row.label


def _key(row: PublishedRow) -> tuple[str | None, str, int | None]:
    return row.model, row.method, row.kv_size


def test_a_row_of_the_wrong_length_or_without_an_explained_source_is_refused(tmp_path):
    content = json.loads(Path("reproduction/published.json").read_text())
    for damage in ({"values": [1.0]}, {"source": "hearsay"}, {"confidence": "Z"}):
        damaged = json.loads(json.dumps(content))
        damaged["tables"]["rvs"]["rows"][0] |= damage
        (tmp_path / "damaged.json").write_text(json.dumps(damaged))
        with pytest.raises(TableError, match="rvs, llava_ov_7b, base"):
            read_tables(tmp_path / "damaged.json")


@pytest.mark.parametrize("table", [name for name in tables() if name not in NOT_FROM_A_RUN])
def test_every_column_is_a_number_of_a_report(table):
    for column in tables()[table].columns:
        metric = metric_of(table, column)
        assert metric is not None and metric.dataset in DATASETS
        if metric.path[:1] == ("tasks",):
            assert metric.path[1] in (STREAMING.tasks if table == "streaming" else OVO.tasks)
        if metric.path[:1] == ("categories",):
            assert metric.path[1] in (NANOSTREAM if table == "nano" else OVO).categories


def test_every_run_is_one_that_the_runner_accepts():
    for table in tables().values():
        if table.name in NOT_FROM_A_RUN:
            continue
        for run in runs_of(table, table.rows):
            assert run.model in MODELS or run.model.startswith("qwen3_vl")
            check_policy(run.policy)
            assert f"kv{run.kv_size}" in run.folder().name


def test_every_ablation_has_a_row_in_the_nano_table():
    rows = tables()["nano"].rows
    fields = {name for row in rows for name in read_policy(row.policy or "")[1]}
    assert {
        *("smoothing", "summary", "reindex", "probe", "profile", "guidance_prompts"),
        *("use_history", "sensory_ratio", "long_term_ratio", "working_decay"),
        *("working_recency_weight", "budget_weights"),
    } <= fields
    assert {row.chunk_frames for row in rows} == {8, 16}
    assert len({row.kv_size for row in rows}) == 3
    assert len({(row.policy, row.kv_size, row.chunk_frames) for row in rows}) == len(rows)


def test_the_nano_table_holds_what_its_command_measured():
    table = tables()["nano"]
    assert all(value is not None for row in table.rows for value in row.values)
    assert table.about["measured"]["command"] == "python scripts/reproduce.py --table nano"


def test_the_memory_formula_reaches_what_the_authors_measured():
    shape = SHAPES["llava_ov_7b"]
    _, tokens = per_frame("llava_ov_7b", shape, None)
    for row in tables()["efficiency"].rows:
        if row.num_frames != 16:  # the memory is full
            gigabytes = memory_bytes(shape, 4000, row.chunk_frames * tokens) / 1e9
            assert gigabytes == pytest.approx(row.values[0], rel=0.05)


def test_shapes_add_up_to_the_counted_parameters():
    """What is left for the vision tower is the size of one: 0.38 to 0.75 billion."""
    for name, shape in SHAPES.items():
        assert 0.38e9 < shape.tower_parameters < 0.75e9, name


def test_costs_grow_with_what_is_watched_and_are_unknown_where_it_is():
    run = Run("qwen2.5_vl_7b", "streamingbench", 4000)
    usual, small = estimate(run), estimate(run, max_pixels=128 * 28 * 28)
    assert usual and small and usual.hours and small.hours
    assert usual.hours > 2 * small.hours and usual.gigabytes > small.gigabytes
    assert estimate(run, "a800").hours > usual.hours  # type: ignore[union-attr]
    unknown = estimate(Run("llava_ov_7b", "mvbench", 4000))
    assert unknown is not None and unknown.hours is None
    assert estimate(Run("nano", "nanostream", 64)) is None


def test_the_list_names_every_table(capsys):
    assert main(["--list"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in [*tables(), "attention study"])


def test_a_dry_run_prints_exact_commands_and_estimates(capsys):
    assert main(["--table", "streaming", "--model", "llava_ov_7b", "--dry_run"]) == 0
    said = capsys.readouterr().out
    assert "--dataset=streamingbench --sample_fps=0.5 --kv_size=4000" in said
    assert "profile released, lazy re-indexing" in said and "GB" in said
    assert main(["--table", "offline", "--rows", "qwen2.5", "--dry_run"]) == 0
    said = capsys.readouterr().out
    assert "eager re-indexing" in said and "? hours" in said and "submission.csv" in said


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        (["--table", "mlvu"], "no table 'mlvu'; known: main, streaming, ovo"),
        (["--table", "rvs", "--model", "qwen2.5_vl_7b"], "it has llava_ov_0.5b, llava_ov_7b"),
        (["--table", "rvs", "--rows", "12K"], "no row of rvs has '12K'"),
    ],
)
def test_what_the_paper_does_not_have_is_said(given, advice, capsys):
    assert main([*given, "--dry_run"]) == 2
    assert advice in capsys.readouterr().err


def test_marks_tell_what_lies_outside_and_what_was_not_run(tmp_path):
    table = tables()["rvs"]
    rows = [row for row in table.rows if row.model == "llava_ov_7b"]
    shared = [f"--results_root={tmp_path}"]
    run = run_of(rows[-1], "rvs_ego")
    assert run is not None
    folder = run.folder(shared)
    folder.mkdir(parents=True)
    judged = {"accuracy_percent": 50.0, "interval95_percent": [48.0, 52.0], "n": 9, "num_judged": 8}
    metrics = {"open_ended": {**judged, "mean_score_truncated": 3.5}}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    cells = {(c.row.label, c.column): c for c in side_by_side(table, rows, shared)}
    ours = cells["llava_ov_7b, HERMES, 4,000 tokens", "Ego accuracy"]
    assert (ours.mark, ours.ours and ours.ours.n) == ("outside the interval", 8)
    assert ours.difference == pytest.approx(50.0 - 58.3)
    score = cells["llava_ov_7b, HERMES, 4,000 tokens", "Ego score"]
    assert score.mark == "" and score.difference == pytest.approx(3.5 - 3.9)
    assert cells["llava_ov_7b, HERMES, 6,000 tokens", "Ego score"].mark == "not run yet"
    assert cells["llava_ov_7b, ReKV", "Ego score"].mark == "not run here"


def test_a_printed_number_has_two_decimals():
    ours = Measured(50.0, 48.004, 52.0)
    assert not ours.excludes(48.0) and ours.excludes(47.99)


def _shrink(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.chdir(folder)
    short = Settings(
        split="test", num_streams=2, min_minutes=0.5, max_minutes=0.5, fps=2, edition=1
    )
    monkeypatch.setattr(nano, "STREAMS", short)


def test_from_the_command_to_the_table(tmp_path, monkeypatch, capsys):
    """A slice of the nano table, its worker in this process; done again, nothing is asked anew."""
    pytest.importorskip("av")
    _shrink(monkeypatch, tmp_path)
    started: list[str] = []

    def run_all(tasks: list[WorkerTask], *_: object) -> list[str]:
        for task in tasks:
            started.append(task.name)
            worker.main([part for part in task.command[2:] if "runner_pid" not in part])
        return []

    monkeypatch.setattr(local, "run_workers", run_all)
    command = ["--table", "nano", "--rows", "smoothed", "--devices", "cpu", "--out", "tables"]
    assert main(command) == 0
    said = capsys.readouterr()
    assert "14 of 14 numbers have been run" in said.out
    with open("tables/nano.csv") as file:
        lines = list(csv.DictReader(file))
    folder = Path("results/nano_table/nano/nanostream")
    for policy in ("hermes:smoothing=[0,0,0.5]", "hermes:smoothing=[0,0.5,0]"):
        with open(folder / f"fps1.0-kv64-{policy}" / "results.csv") as file:
            asked = [row for row in csv.DictReader(file) if row["task"] != "unanswerable"]
            right = [float(row["qa_acc"]) for row in asked]
        (line,) = [x for x in lines if x["policy"] == policy and x["column"] == "all"]
        assert float(line["ours"]) == pytest.approx(sum(right) / len(right))
        assert int(line["n"]) == len(right) and line["difference"] != ""
    text = Path("tables/nano.md").read_text()
    assert "| stored | ours | difference | 95 % interval | n |" in text
    stored = json.loads(Path("tables/nano.json").read_text())
    assert stored["cells"][0]["source"] == "measured" and stored["about"]["measured"]

    assert main(command) == 0
    assert started == ["1_0"]
    assert Path("tables/nano.md").read_text() == text


def test_a_run_that_cannot_be_done_is_named_and_the_table_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = main(["--table", "ablation_summary", "--out", "tables", "--devices", "cpu"])
    assert code == 1
    text = Path("tables/ablation_summary.md").read_text()
    assert "0 of 8 numbers have been run." in text and "not finished: `python video_qa/" in text
    assert "no annotation file at data/videomme/videomme.json" in capsys.readouterr().err


def test_stored_numbers_are_those_measured(tmp_path):
    table = tables()["nano"]
    path = tmp_path / "nano.json"
    path.write_text(nano.NANO.read_text())
    cells = [_cell(table, row, column) for row in table.rows for column in table.columns]
    nano.store(cells, "the command", path)
    (read,) = read_tables(path)
    assert all(value == 12.35 for row in read.rows for value in row.values)
    assert read.about["measured"]["command"] == "the command"
    unchanged = [row.label for row in table.rows]
    assert [row.label for row in read.rows] == unchanged
    with pytest.raises(ValueError, match="1 numbers have not been measured: nano, as released"):
        nano.store([_cell(table, table.rows[0], "all", None), *cells[1:]], "", path)


def _cell(
    table: PublishedTable, row: PublishedRow, column: str, value: float | None = 12.345678
) -> Cell:
    ours = None if value is None else Measured(value)
    return Cell(row, column, None, ours, run_of(row, "nanostream"))


def test_costs_are_measured_once_per_row(tmp_path, monkeypatch, load):
    """On a tiny model on the CPU, which keeps no record of its peak."""
    asked: list[object] = []

    def loader(model: str, **options: object) -> tuple[object, None]:
        asked.append((model, options["device"]))
        return load("llava"), None

    monkeypatch.setattr("inference.load_model", loader)
    table = tables()["efficiency"]
    rows = [replace(row, kv_size=16) for row in table.rows if row.num_frames == 16]
    out = tmp_path / "costs.jsonl"
    assert efficiency.measure(rows[:1], out, "0,1", side=56) == 0
    assert efficiency.measure(rows, out, "cpu", side=56) == 0
    assert asked == [("llava_ov_7b", "cuda:0"), ("llava_ov_7b", "cpu")]
    first = out.read_text()
    assert efficiency.measure(rows, out, None, side=56) == 0
    assert out.read_text() == first and len(first.splitlines()) == 2 and len(asked) == 2
    cells = {(cell.row.label, cell.column): cell for cell in efficiency.cells(table, rows, out)}
    label = "llava_ov_7b, HERMES, 16 tokens, 16 frames in chunks of 8"
    assert cells[label, "peak GB"].mark == "not run yet"
    ttft = cells[label, "TTFT ms"]
    assert ttft.ours is not None and ttft.ours.value > 0 and ttft.paper == 27.01
