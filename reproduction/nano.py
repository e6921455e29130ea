"""A table of our own: every ablation on hermes-nano and NanoStream, on any machine.

Its streams are about three times as long as those the model was trained on, with a budget of a
quarter of that. All memories that can share chunks watch side by side.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from eval.whole_file import write_text
from reproduction.published import NANO, PublishedRow
from reproduction.runs import Run, parsed
from reproduction.side_by_side import Cell
from video_qa.compare import main as compare
from video_qa.nanostream.write import Settings, write_split

DATA = Path("data/nano_table")
STREAMS = Settings(split="test", num_streams=10, min_minutes=3.0, max_minutes=3.0, edition=1)


def write_streams() -> None:
    """The videos and questions of the table; kept once they are there."""
    write_split(DATA, STREAMS)


def arguments() -> list[str]:
    """What the runs of the table share: annotations, and a place of their own for results."""
    return [f"--anno_path={DATA / 'nanostream_test.json'}", "--results_root=results/nano_table"]


def watch_side_by_side(runs: Sequence[Run], shared: Sequence[str]) -> int:
    """Let all runs of the same budget and chunk length watch together; returns the exit code.

    `run_infer` afterwards finds their answers and evaluates them.
    """
    codes = [0]
    usual = parsed(["--dataset=nanostream", *shared])
    for kv_size in dict.fromkeys(run.kv_size for run in runs):
        alike = [run for run in runs if run.kv_size == kv_size and run.chunk_frames == 16]
        names = ",".join(run.policy for run in alike)
        if len(alike) < 2:
            continue
        given = [f"--model={alike[0].model}", "--dataset=nanostream", f"--policies={names}"]
        given += [f"--kv_sizes={kv_size}", f"--sample_fps={alike[0].sample_fps:g}"]
        out = usual.results_root / f"side_by_side-kv{kv_size}"
        codes.append(compare([*given, *shared, f"--out={out}"]))
    return max(codes)


def store(cells: Sequence[Cell], command: str, path: Path = NANO) -> None:
    """Make the measured numbers the stored ones; nothing else of the file changes.

    Raises:
        ValueError: a number has not been measured.
    """
    if missing := [f"{cell.row.label}, {cell.column}" for cell in cells if cell.ours is None]:
        raise ValueError(f"{len(missing)} numbers have not been measured: {'; '.join(missing[:3])}")
    content = json.loads(path.read_text(encoding="utf-8"))
    table = content["tables"]["nano"]
    found = {(_key(cell.row), cell.column): cell.ours for cell in cells}
    for entry in table["rows"]:
        row = PublishedRow(**{**entry, "values": ()})
        numbers = [found[_key(row), column] for column in table["columns"]]
        entry["values"] = [round(number.value, 2) for number in numbers if number]
    content["measured"] = {
        "command": command,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, CPU",
        "versions": {name: version(name) for name in ("torch", "transformers", "av")},
    }
    write_text(path, dumped(content))


def dumped(content: dict[str, object]) -> str:
    """JSON with one row of a table per line."""
    rows = content["tables"]["nano"]["rows"]  # type: ignore[index]
    marked = json.loads(json.dumps(content))
    marked["tables"]["nano"]["rows"] = [f"@{number}@" for number in range(len(rows))]
    text = json.dumps(marked, indent=2, ensure_ascii=False)
    for number, row in enumerate(rows):
        text = text.replace(f'"@{number}@"', json.dumps(row, ensure_ascii=False))
    return text + "\n"


def _key(row: PublishedRow) -> PublishedRow:
    return replace(row, values=())
