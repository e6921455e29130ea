"""scripts/bench_efficiency.py from end to end on a tiny model; its report; gpu_check for speed."""

from __future__ import annotations

import json
from functools import partial

import pytest
from test_efficiency_paths import Neighbour

from efficiency import lane, streams
from efficiency.paths import PATHS
from efficiency.roofline import measure_ceilings
from efficiency.table import tables
from scripts import bench_efficiency, benchmark_report, gpu_check

OPTIONS = "--device cpu --kv_size 24 --frames 8,24 --chunk 8 --frame_size 56x56 --questions 1"
OPTIONS += " --new_tokens 2 --question_tokens 16,20 --growing_frames 16 --streams 1,2"
STEPS = {"vision", "reading", "logits", "scoring", "compaction", "chunk"}


@pytest.fixture
def bench(checkpoint, tmp_path, monkeypatch):
    """The script on the tiny model; exit code and record."""
    quick = partial(measure_ceilings, side=64, num_bytes=4096)
    monkeypatch.setattr(bench_efficiency, "measure_ceilings", quick)
    monkeypatch.setattr(benchmark_report, "REPORT", tmp_path / "benchmarks.md")
    for module in (bench_efficiency, benchmark_report):
        monkeypatch.setattr(module, "RESULTS", tmp_path)

    def run(*more: str):
        out = tmp_path / "efficiency-tiny-cpu.json"
        words = ["--model", str(checkpoint("llava")), *OPTIONS.split(), *more, "--out", str(out)]
        return bench_efficiency.main(words), json.loads(out.read_text()), tmp_path

    return run


def test_everything_is_measured_and_reported(bench, capsys):
    code, record, folder = bench()
    assert code == 0 and record["refused"] == {} and set(record["paths"]) == set(PATHS)
    for path in record["paths"].values():
        assert set(path["steps"]) == STEPS and path["steps"]["chunk"]["p50"] > 0
        memory = path["memory"]
        hidden_states = record["tokens_per_chunk"] * 64 * 4
        assert memory["working_bytes_of_steps"]["reading"] >= hidden_states
        assert memory["peak_bytes"] > memory["steady_bytes"] + memory["working_bytes"]
        assert path["roofline"]["reading"]["share"] > 0
        assert path["operators_per_token_and_layer"] == path["operators"]["token"] / 10
    assert list(record["paths"]["growing"]["at"]) == ["8", "16"]
    assert list(record["ratios"]["release"]) == ["8", "24"] and set(record["streams"]) == {"1", "2"}
    shown = capsys.readouterr().out
    page = (folder / "benchmarks.md").read_text()
    median = record["paths"]["ours"]["at"]["24"]["ttft_20"]["p50"] * 1e3
    for text in (shown, page):
        assert f"| first token, question of 20 tokens | {median:.4g} / " in text
    assert "Nothing on this page has been measured on a GPU" in page
    assert record["command"] in page


def test_without_vision_one_chunk_stands_for_all(bench):
    _, record, _ = bench("--without_vision", "--paths", "ours", "--streams", "")
    ours = record["paths"]["ours"]
    assert ours["operators"]["vision"] == 0 and "vision" not in ours["roofline"]
    assert record["ratios"] == record["streams"] == {}


def test_a_way_that_computes_something_else_is_not_reported(bench, monkeypatch, capsys):
    monkeypatch.setitem(PATHS, "release", Neighbour)
    code, record, _ = bench()
    assert code == 1 and set(record["paths"]) == {"ours", "plain", "growing"}
    assert set(record["ratios"]) == {"plain", "growing"} and record["free_ceiling"] is None
    assert "other tokens are kept" in record["refused"]["release"]
    assert "NOT REPORTED: release: chunk" in capsys.readouterr().out


def test_what_fails_costs_nothing_that_was_measured(bench, monkeypatch, capsys):
    """Counting one way, and a number of streams."""
    original = lane.count_steps

    def broken(path, frames, prompt):
        if path.name == "plain":
            raise RuntimeError("cannot be counted")
        return original(path, frames, prompt)

    monkeypatch.setattr(lane, "count_steps", broken)
    monkeypatch.setattr(streams, "MAX_FILLING_CHUNKS", None)  # min() fails
    code, record, _ = bench("--paths", "ours", "plain")
    assert code == 1 and record["finished"] and record["streams"] == {}
    assert set(record["failed"]) == {"plain", "1 streams", "2 streams"}
    reason = "after 24 frames: RuntimeError: cannot be counted"
    assert record["failed"]["plain"] == reason
    for path in record["paths"].values():
        assert path["at"]["24"]["ttft_20"]["p50"] > 0 and path["steps"]["chunk"]["p50"] > 0
    assert record["paths"]["ours"]["operators"] and not record["paths"]["plain"]["operators"]
    assert f"FAILED: plain: {reason}" in capsys.readouterr().out


def test_what_was_measured_outlives_the_program(bench, monkeypatch, tmp_path):
    def killed(path, frames, prompt):
        raise KeyboardInterrupt

    monkeypatch.setattr(lane, "count_steps", killed)
    with pytest.raises(KeyboardInterrupt):
        bench("--paths", "ours", "plain")
    record = json.loads((tmp_path / "efficiency-tiny-cpu.json").read_text())
    assert list(record["paths"]["ours"]["at"]) == ["8", "24"] and not record["finished"]
    assert "NOT FINISHED" in "\n".join(tables(record))


WRONG = {
    "--frames 8,12": "whole chunks",
    "--model nowhere": "no checkpoint at 'nowhere'",
    "--model nano --random_weights": "no shape is known for 'nano'",
    "--policy forgetful": "forgetful",
    "--question_tokens 40000": "lower --kv_size or --question_tokens",
}


@pytest.mark.parametrize(("words", "message"), WRONG.items(), ids=WRONG)
def test_bad_options_are_refused(words, message, checkpoint, tmp_path, capsys):
    given = ["--model", str(checkpoint("llava")), *OPTIONS.split(), *words.split()]
    assert bench_efficiency.main([*given, "--out", str(tmp_path / "out.json")]) == 2
    assert message in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_the_page_says_what_has_not_been_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark_report, "RESULTS", tmp_path)
    monkeypatch.setattr(benchmark_report, "REPORT", tmp_path / "page.md")
    benchmark_report.write_report()
    page = (tmp_path / "page.md").read_text()
    assert "measured on a GPU: none has been at hand" in page
    assert "`scripts/bench_efficiency.py` has not been run for this page yet." in page
    note = benchmark_report._gpu_note(
        {"efficiency-a": {"model": "a", "device": "H200", "device_type": "cuda"}}
    )
    assert "none has been at hand" not in note and "- a on H200: efficiency-a" in note


@pytest.mark.slow
def test_gpu_check_runs_the_benchmarks_of_all_families(tmp_path, monkeypatch):
    commands = []

    def run(command, seconds, environment):
        commands.append(command)
        return {"exit_code": 0, "seconds": 1.0}

    monkeypatch.setattr(gpu_check, "run_command", run)
    out = tmp_path / "check.json"
    assert gpu_check.main(["--device", "cpu", "--part", "bench", "--out", str(out)]) == 0
    report = json.loads(out.read_text())
    assert list(report["parts"]) == gpu_check.GROUPS["bench"]
    parts = {name: report["parts"][name] for name in gpu_check.BENCHES}
    for command, part in zip(commands, parts.values(), strict=True):
        options = bench_efficiency._parse(command[2:])  # all of them are known there
        assert options.random_weights and str(options.out) == part["record"]
        assert (options.device, options.dtype, options.kv_size) == ("cpu", "float16", 6000)
    models = [command[command.index("--model") + 1] for command in commands]
    assert models == ["llava_ov_7b", "qwen2.5_vl_7b", "qwen3_vl_8b"]


def test_the_groups_name_all_parts():
    names = [name for group in gpu_check.GROUPS.values() for name in group]
    assert sorted(names) == sorted(gpu_check.Check(gpu_check._parse([])).parts())
