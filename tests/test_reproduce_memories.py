"""All memories on the real benchmarks: the table, its commands, what they may cost."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

pytest.importorskip("pydantic")  # which reads annotations
from hermes.policy_text import POLICY_NAMES
from reproduction import memories
from reproduction.checkpoint_sizes import SHAPES
from reproduction.command import main
from reproduction.estimates import GPUS, estimate, memory_bytes
from reproduction.published import MEMORIES, tables
from reproduction.runs import Run, runs_of
from video_qa.comparison.arguments import parser

TABLE = tables()["memories"]
RUNS = runs_of(TABLE, TABLE.rows)


def test_every_memory_is_in_it_at_every_budget():
    left_out = set(json.loads(MEMORIES.read_text())["left_out"])
    for model in ("qwen2.5_vl_7b", "qwen3_vl_8b"):
        rows = [row for row in TABLE.rows if row.model == model]
        names = {(row.policy or "").partition(":")[0] for row in rows}
        assert names == set(POLICY_NAMES) - left_out
        for policy in {row.policy for row in rows}:
            assert sorted(row.kv_size or 0 for row in rows if row.policy == policy) == [4000, 6000]
    assert {run.dataset for run in RUNS} == {"streamingbench", "ovobench"}
    assert len(RUNS) == len(set(RUNS)) == 2 * len(TABLE.rows)


def test_printed_numbers_are_those_of_the_main_table():
    of_main = {(row.model, row.policy, row.kv_size): row for row in tables()["main"].rows}
    printed = [row for row in TABLE.rows if any(value is not None for value in row.values)]
    assert len(printed) == 4
    for row in printed:
        assert of_main[row.model, "hermes", row.kv_size] == row


@pytest.mark.parametrize("gpu", GPUS)
def test_every_memory_watches_once_and_no_more_than_fit(gpu):
    commands = list(memories.commands(RUNS, ["--num_chunks=2", "--base_url=http://x"], gpu, None))
    watched = []
    for argv in commands:
        given = parser("", "compare.py").parse_args(argv)
        assert given.num_chunks == 2 and given.sample_fps in (1, 2)
        watched += [
            (given.model, given.dataset, policy, size)
            for policy in given.policies
            for size in given.kv_sizes
        ]
        shape = SHAPES[given.model]
        chunk = 16 * {"qwen2.5_vl_7b": 1920 * 1080 / 28**2, "qwen3_vl_8b": 768}[given.model] / 2
        streams = len(given.policies) * sum(
            shape.stream_bytes(size + 1024, chunk) for size in given.kv_sizes
        )
        both = streams + memory_bytes(shape, 0, chunk) - shape.stream_bytes(1024, chunk)
        assert both <= 0.85 * GPUS[gpu].gigabytes * 1e9
    assert sorted(watched) == sorted((r.model, r.dataset, r.policy, r.kv_size) for r in RUNS)
    folders = {part for argv in commands for part in argv if part.startswith("--out=")}
    assert len(folders) == len(commands)


def test_hours_follow_what_a_memory_does():
    run = Run("qwen2.5_vl_7b", "streamingbench", 4000)
    others = ("recent", "keyrec", "shallow_stream", "dscache", "blank_frames")
    tower, by_run = memories.hours(
        [run, *(replace(run, policy=policy) for policy in others)], "h200", None
    )
    full, recent, keyrec, shallow, dscache, blank = by_run.values()
    whole = estimate(run)
    assert whole is not None and tower + full == pytest.approx(whole.hours)
    assert recent == full and keyrec == blank < full / 10
    assert dscache > full  # reads the newest frames afresh
    assert shallow - keyrec == pytest.approx(4 / 28 * (full - _letters()), rel=1e-3)


def _letters() -> float:
    """Hours for the two tokens of each answer."""
    return 2495 * 2 * SHAPES["qwen2.5_vl_7b"].weight_bytes / (GPUS["h200"].bandwidth * 0.6) / 3600


def test_a_dry_run_says_what_it_would_take(capsys):
    assert main(["--table", "memories", "--model", "qwen3_vl_8b", "--dry_run"]) == 0
    said = capsys.readouterr().out
    assert "--dataset=streamingbench --sample_fps=2 --kv_sizes=4000,6000" in said
    assert "92 runs" in said and "nothing of it measured" in said and "0.81 seconds" in said
    frames = 2 * (250_180 + 345_520) * 2 * 16  # of 23 memories, 7 read frames afresh only
    assert f"{frames * 0.81 / 3600:,.0f} hours at 0.81" in said
    assert "shallow_stream:depth=5" in said and "pairs of frames" in said
    given = ["--seconds_per_frame", "0.01", "--max_pixels", "infinipot_v", "--dry_run"]
    assert main(["--table", "memories", "--model", "qwen3_vl_8b", *given]) == 0
    said = capsys.readouterr().out
    assert f"{frames * 0.01 / 3600:,.0f} hours at 0.01 seconds per frame (--sec" in said


def test_what_is_missing_watches_side_by_side_first(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    asked: list[list[str]] = []
    monkeypatch.setattr(memories, "compare", lambda argv: asked.append(argv) or 0)
    monkeypatch.setattr("reproduction.command.run_infer", lambda argv: 0)
    command = ["--table", "memories", "--model", "qwen3_vl_8b", "--rows", "two_speed"]
    assert main([*command, "--gpu", "h100", "--limit", "2", "--out", "tables"]) == 0
    assert len(asked) == 2 and all("--limit=2" in argv for argv in asked)
    assert all("--policies=two_speed,two_speed_recall" in argv for argv in asked)
    assert "not run yet" in (tmp_path / "tables" / "memories.md").read_text()
