"""Oracle 5: traces of the released engines replay, and an altered trace does not."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny import TESTS

from scripts.replay_golden import main
from scripts.shrink_golden import WEIGHTS, shrink, unpack

SHARED = TESTS.parent.parent / "shared" / "golden"
TRACES = {
    "llava_lazy_kv80_seed0.npz": "tiny-llava-onevision-0",
    "llava_eager_kv80_seed0.npz": "tiny-llava-onevision-0",
    "qwen_lazy_kv40_seed0.npz": "tiny-qwen2.5-vl-0",
    "qwen_eager_kv40_seed0.npz": "tiny-qwen2.5-vl-0",
}


@pytest.mark.parametrize(("trace", "checkpoint"), TRACES.items())
def test_reduced_traces_replay(golden, trace, checkpoint, capsys):
    assert main([str(golden / checkpoint), str(golden / trace)]) == 0
    line = capsys.readouterr().out.strip()
    assert line.startswith(f"ok   {trace}: 6 steps, kept exact, positions exact")
    assert line.endswith("answers exact")


def test_a_folder_without_traces_is_refused(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert "no traces" in capsys.readouterr().err


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"the full traces are not here ({SHARED})")
@pytest.mark.parametrize("checkpoint", sorted(set(TRACES.values())))
def test_full_traces_replay(checkpoint, capsys):
    traces = [str(SHARED / name) for name, folder in TRACES.items() if folder == checkpoint]
    assert main([str(SHARED / checkpoint), *traces]) == 0
    assert capsys.readouterr().out.count("ok  ") == len(traces)


def _swap_kept(trace: dict[str, np.ndarray]) -> None:
    last = trace["c5_keep_len"][0] - 1  # the newest token of layer 0 becomes an evicted index
    trace["c5_keep"][last] += 1


def _shift_position(trace: dict[str, np.ndarray]) -> None:
    trace["c4_positions"][9, ..., -1] += 1


def _nudge_key(trace: dict[str, np.ndarray]) -> None:
    trace["c5_k"][-1, 0, 1, 50, 3] += 2e-4


def _nudge_value(trace: dict[str, np.ndarray]) -> None:
    trace["c5_v"][0, 0, 0, 70, 0] -= 2e-4


def _change_answer(trace: dict[str, np.ndarray]) -> None:
    trace["answers"][1] = trace["answers"][1][:-1] + "#"


def _deny_pruning(trace: dict[str, np.ndarray]) -> None:
    trace["c1_applied"] = np.array(False)


def _drop_frame(trace: dict[str, np.ndarray]) -> None:
    trace["frames"] = trace["frames"].copy()
    trace["frames"][20] = 0


ALTERATIONS = [
    (_swap_kept, "kept differ (chunk 5 layer 0)"),
    (_shift_position, "positions differ (chunk 4 layer 9)"),
    (_nudge_key, "error 2.0e-04"),
    (_nudge_value, "error 2.0e-04"),
    (_change_answer, "answers differ (after chunk 5"),
    (_deny_pruning, "kept differ (chunk 1: pruning entered True"),
    (_drop_frame, "FAIL"),
]


@pytest.mark.parametrize(
    ("alter", "message"), ALTERATIONS, ids=[alter.__name__[1:] for alter, _ in ALTERATIONS]
)
def test_an_altered_trace_fails(golden, tmp_path, alter, message, capsys):
    name = "qwen_lazy_kv40_seed0.npz"
    trace = {key: value.copy() for key, value in np.load(golden / name).items()}
    alter(trace)
    np.savez(tmp_path / name, **trace)
    assert main([str(golden / TRACES[name]), str(tmp_path / name)]) == 1
    line = capsys.readouterr().out
    assert line.startswith("FAIL")
    assert message in line


def _truncated(path: Path, whole: Path) -> None:
    path.write_bytes(whole.read_bytes()[:200_000])


def _one_array(path: Path, whole: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


def _without_positions(path: Path, whole: Path) -> None:
    content = dict(np.load(whole))
    del content["c3_positions"]
    np.savez(path, **content)


RUBBISH = {
    "text": lambda path, whole: path.write_text("not a trace"),
    "empty": lambda path, whole: path.write_bytes(b""),
    "truncated": _truncated,
    "one array": _one_array,
    "other npz": lambda path, whole: np.savez(path, x=np.zeros(3)),
    "lacks a step": _without_positions,
    "missing": lambda path, whole: None,
}


@pytest.mark.parametrize("write", RUBBISH.values(), ids=RUBBISH)
def test_rubbish_is_refused(golden, tmp_path, write, capsys):
    name = "qwen_lazy_kv40_seed0.npz"
    path = tmp_path / "rubbish.npz"
    write(path, golden / name)
    assert main([str(golden / TRACES[name]), str(path)]) == 2
    assert str(path) in capsys.readouterr().err


def test_a_missing_checkpoint_is_refused(golden, tmp_path, capsys):
    trace = str(golden / "qwen_lazy_kv40_seed0.npz")
    assert main([str(tmp_path / "nothing"), trace]) == 2
    assert "no checkpoint" in capsys.readouterr().err


def test_shrinking_and_unpacking_lose_nothing(golden, tmp_path):
    source, name = tmp_path / "in", "qwen_lazy_kv40_seed0.npz"
    shutil.copytree(golden / TRACES[name], source / TRACES[name])
    trace = dict(np.load(golden / name))
    del trace["state_layers"]
    layers = {key: np.repeat(trace[key], 5, axis=0) for key in trace if key.endswith(("_k", "_v"))}
    np.savez(source / name, **{**trace, **layers})  # ten layers, as in a full trace
    shrink(source, tmp_path / "packed")
    again = unpack(tmp_path / "packed", tmp_path / "again")
    weights = [(root / TRACES[name] / WEIGHTS).read_bytes() for root in (source, again)]
    assert weights[0] == weights[1]
    found = np.load(again / name)
    assert all(np.array_equal(found[key], trace[key]) for key in trace if key not in layers)
    assert np.array_equal(found["c5_k"], layers["c5_k"][found["state_layers"]])


def test_the_copy_in_tests_is_small():
    stored = (path for path in (TESTS / "golden").rglob("*") if path.is_file())
    assert sum(path.stat().st_size for path in stored) < 4_000_000
