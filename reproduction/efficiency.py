"""Peak memory and latency as in the paper's efficiency table, measured on this machine.

Frames are noise of the model's input size: contents change nothing about costs. Unlike the script
of the release, clocks wait for the device, and the first token is timed at the first token.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eval.whole_file import write_text
from reproduction.measured import Measured
from reproduction.published import PublishedRow, PublishedTable
from reproduction.runs import Run
from reproduction.side_by_side import Cell

QUESTION = "What is happening in the video?"
NEW_TOKENS, REPEATS, SIDE = 32, 5, 384


def measure(rows: Sequence[PublishedRow], out: Path, devices: str | None, side: int = SIDE) -> int:
    """Measure what `out` does not hold yet, one line of JSON per row; returns 0.

    Args:
        devices: as the runner takes them; the first one is used.
    """
    from inference import load_model

    engine = None
    for row in rows:
        if _key(row) in read(out):
            continue
        if engine is None:
            assert row.model is not None and row.kv_size is not None
            engine, _ = load_model(row.model, kv_size=row.kv_size, device=_first(devices))
        found = _measure(engine, row, side)
        before = out.read_text(encoding="utf-8") if out.exists() else ""
        write_text(out, before + json.dumps({"row": _key(row), **found}) + "\n")
    return 0


def read(out: Path) -> dict[str, dict[str, Any]]:
    """Row key -> what was measured."""
    if not out.exists():
        return {}
    lines = map(json.loads, out.read_text(encoding="utf-8").splitlines())
    return {line["row"]: line for line in lines}


def cells(table: PublishedTable, rows: Sequence[PublishedRow], out: Path) -> list[Cell]:
    """The table side by side; latencies are medians over `REPEATS` questions."""
    found = read(out)
    made = []
    for row in rows:
        run = None
        if row.policy and row.model and row.kv_size:
            run = Run(row.model, "streamingbench", row.kv_size, row.policy, row.chunk_frames)
        for column, paper in zip(table.columns, row.values, strict=True):
            value = found.get(_key(row), {}).get(column)
            ours = None if value is None else Measured(value, n=REPEATS)
            made.append(Cell(row, column, paper, ours, run))
    return made


def _first(devices: str | None) -> str | None:
    if devices is None:
        return None
    name = devices.split(",")[0].strip()
    return f"cuda:{name}" if name.isdecimal() else name


def _measure(engine: Any, row: PublishedRow, side: int) -> dict[str, Any]:
    import torch

    stream = engine.new_stream(kv_size=row.kv_size, chunk_frames=row.chunk_frames)
    on_gpu = stream.device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    generator, left = np.random.default_rng(0), row.num_frames or 0
    while left:
        size = (min(left, row.chunk_frames), side, side, 3)
        stream.encode_video_chunk(generator.integers(0, 256, size, dtype=np.uint8))
        stream.predict_and_compress()
        left -= size[0]
    timings = []
    for _ in range(REPEATS + 1):  # the first one warms up
        stream.question_answering(QUESTION, NEW_TOKENS)
        timings.append(stream.last_timing)
    return {
        "peak GB": torch.cuda.max_memory_allocated() / 2**30 if on_gpu else None,
        "TTFT ms": 1000 * float(np.median([t.first_token_seconds for t in timings[1:]])),
        "TPOT ms": 1000 * float(np.median([t.per_token_seconds for t in timings[1:]])),
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
    }


def _key(row: PublishedRow) -> str:
    return row.label
