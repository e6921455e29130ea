"""The memory inspector on real videos and tiny models."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from videos import numbered_frames, write_video

from video_qa.inspect_memory import main
from video_qa.lanes.retention import RetentionLog, bin_starts, binned_mean, count_tokens


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "talk.mp4", numbered_frames(40), fps=2)


def arguments(video: Path, model: object, out: Path, *more: str) -> list[str]:
    fixed = [str(video), f"--model={model}", f"--out={out}", "--device=cpu", "--chunk_frames=4"]
    return [*fixed, *(more or ("--kv_size=24", "--policy=recent"))]


def test_what_the_files_say_is_what_the_memory_holds(
    family: str, checkpoint: Callable[[str], object], video: Path, tmp_path: Path
) -> None:
    out, model = tmp_path / "out", checkpoint(family)
    before = set(tmp_path.iterdir())
    assert main(arguments(video, model, out)) == 0
    assert set(tmp_path.iterdir()) - before == {out}
    assert {path.name for path in out.iterdir()} == {
        "retention.csv",
        "retention.svg",
        "memory.html",
    }
    table = pd.read_csv(out / "retention.csv")
    ends = table.watched_until_seconds.unique().tolist()
    assert ends == [3, 7, 11, 15, 19]
    last = table[table.watched_until_seconds == 19]
    assert set(last.groupby("layer").tokens.sum()) == {24}  # 24 tokens, the newest frames
    frames = last[last.layer == 0]
    assert frames.frame.max() >= 18 and (frames.frame_seconds == frames.frame).all()
    assert frames.frame.min() > 20 - 24
    page = html.unescape((out / "memory.html").read_text())
    assert page.count("data:image/jpeg") == (20 if family == "llava" else 10)
    assert not re.search(r'(src|href)="(?!data:|#)', page) and "script-src 'sha256-" in page


def test_summary_tokens_are_counted(
    checkpoint: Callable[[str], object], video: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    more = ("--kv_size=24", "--policy=hermes")
    assert main(arguments(video, checkpoint("llava"), out, *more)) == 0
    table = pd.read_csv(out / "retention.csv")
    last = table[table.watched_until_seconds == 19]
    assert set(last.groupby("layer").tokens.sum()) == {24}
    assert (last[last.frame == -2].tokens == 1).all() and (last.frame == -2).any()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("video", "no_such.mp4"),
        ("damaged", "bad.mp4"),
        ("model", "unknown model 'nope'"),
        ("policy", "unknown policy 'nope': expected one of"),
        ("kv_size", "one frame needs 4 visual tokens but kv_size is 3"),
        ("out", "cannot write to --out"),
        ("snapshots", "at least 2 snapshots"),
    ],
)
def test_bad_input_is_named(
    checkpoint: Callable[[str], object],
    video: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    change: str,
    expected: str,
) -> None:
    model, out = checkpoint("llava"), tmp_path / "out"
    (tmp_path / "bad.mp4").write_bytes(b"no video at all")
    cases = {
        "video": arguments(tmp_path / "no_such.mp4", model, out),
        "damaged": arguments(tmp_path / "bad.mp4", model, out),
        "model": arguments(video, "nope", out),
        "policy": arguments(video, model, out, "--policy=nope", "--kv_size=24"),
        "kv_size": arguments(video, model, out, "--policy=recent", "--kv_size=3"),
        "out": arguments(video, model, Path("/dev/null/x")),
        "snapshots": arguments(video, model, out, "--kv_size=24", "--snapshots=1"),
    }
    assert main(cases[change]) == 2
    assert expected in capfd.readouterr().err
    assert not list(tmp_path.glob("out/*"))


def test_counting_tokens() -> None:
    rows = [np.array([-2, 0, 0, 4]), np.array([2, 4, 4, 4])]
    counts, summaries = count_tokens(rows, [0, 2, 4])
    assert counts.tolist() == [[2, 0, 1], [0, 1, 3]] and summaries.tolist() == [1, 0]


def test_a_log_spreads_its_snapshots() -> None:
    log = RetentionLog(limit=4)
    for number in range(23):
        log._keep(number)  # type: ignore[arg-type]
    assert log.snapshots == [0, 8, 16, 22]
    with pytest.raises(ValueError, match="at least 2"):
        RetentionLog(limit=1)


@pytest.mark.parametrize("length", [1, 3, 7, 8, 20])
def test_bins_cover_every_entry_once(length: int) -> None:
    values = np.arange(length, dtype=float)
    starts = [*bin_starts(length, 7), length]
    parts = [values[a:b] for a, b in pairwise(starts)]
    assert np.concatenate(parts).tolist() == values.tolist() and len(parts) <= 7
    assert binned_mean(values, 7).tolist() == [part.mean() for part in parts]
