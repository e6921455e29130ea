"""Qwen3-VL: frozen traces of our own engine replay, and an altered one does not."""

from __future__ import annotations

import numpy as np
import pytest
from tiny import TESTS

from inference import load_model
from scripts.replay import QUESTION
from scripts.replay_golden import main
from scripts.shrink_golden import unpack

NAMES = [f"qwen3_{mode}_kv80_seed{seed}.npz" for seed in (0, 1) for mode in ("lazy", "eager")]


@pytest.fixture(scope="module")
def frozen(tmp_path_factory):
    return unpack(TESTS / "golden_ours", tmp_path_factory.mktemp("golden_ours"))


@pytest.mark.parametrize("name", NAMES)
def test_traces_replay(frozen, name, capsys):
    assert main([str(frozen / f"tiny-qwen3-vl-{name[-5]}"), str(frozen / name)]) == 0
    line = capsys.readouterr().out.strip()
    assert line.startswith(f"ok   {name}: 6 steps, kept exact, positions exact")
    assert line.endswith("answers exact")


def test_all_of_them_are_named():
    assert sorted(path.name for path in (TESTS / "golden_ours").glob("*_seed*.npz")) == sorted(
        NAMES
    )


@pytest.mark.parametrize("key", ["c4_keep", "c3_positions", "c5_k", "answers"])
def test_an_altered_trace_fails(frozen, tmp_path, key, capsys):
    trace = dict(np.load(frozen / NAMES[0]))
    changed = trace[key].copy()
    if key == "answers":
        changed[0] = changed[0][:-1] + "#"
    else:
        changed.flat[-1] += 1
    np.savez(tmp_path / NAMES[0], **{**trace, key: changed})
    assert main([str(frozen / "tiny-qwen3-vl-0"), str(tmp_path / NAMES[0])]) == 1
    assert capsys.readouterr().out.startswith("FAIL")


def test_the_runs_evict_stamps_and_renumber(frozen):
    """What the traces are worth: without that they would freeze little."""
    engine, _ = load_model(
        frozen / "tiny-qwen3-vl-0", kv_size=80, streaming=True, device="cpu", sample_fps=2
    )
    for index, chunk in enumerate(np.split(np.load(frozen / NAMES[0])["frames"], 6)):
        engine.encode_video_chunk(chunk)
        engine.predict_and_compress()
        if index == 2:
            engine.add_history(QUESTION.format(chunk=2), "one")
    memory = engine.memory
    used = slice(memory.num_prefix, memory.num_tokens)
    stamps = (memory.provenance.patch[:, used] < 0).sum(1)
    assert memory.num_renumberings >= 1
    assert 0 < stamps.min() < stamps.max() < 80, "layers differ in the stamps they keep"
