"""docs/benchmarks.md from the JSON files beside it: no figure is typed by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "benchmarks"
REPORT = ROOT / "docs" / "benchmarks.md"

_KINDS = {"waits": "waits", "copies": "copies", "peer_copies": "peer", "operators": "operators"}

_HEAD = """# Benchmarks

Written by `scripts/bench_memory.py report` from `docs/benchmarks/*.json`; the command of each
measurement stands beside it. Models are tiny and random: the figures are about the memory, the
loop and the decoder of videos, not about a 7B model. Nothing here has run on a GPU yet; there
`scripts/bench_random.py` measures a Qwen3-VL of true size with random weights (`gpu_check.sh`).
"""


def write_report() -> None:
    """Rewrite docs/benchmarks.md."""
    sections = [_HEAD]
    for path in sorted(RESULTS.glob("*.json")):
        sections.append(_section(path.stem, json.loads(path.read_text())))
    REPORT.write_text("\n".join(sections))


def _section(name: str, record: dict[str, Any]) -> str:
    command = record.pop("command", f"python scripts/bench_{name}.py")
    lines = [f"## {name}", "", f"`{command}`", ""]
    if "costs" in record:
        lines += _cost_lines(record)
    else:
        lines += ["| quantity | value |", "|---|---|"]
        lines += [f"| {key} | {value} |" for key, value in _rows(record)]
    return "\n".join(lines) + "\n"


def _cost_lines(record: dict[str, Any]) -> list[str]:
    """A table per family: a row per policy, one device / two devices in a cell."""
    lines = [
        f"Models of {record['layers']} layers on pretended GPUs, 1 / 2 of them. Waits: the host "
        "stands still (reading clocks left out). Copies: between host and device. Peer: between "
        "devices. Operators: kernels launched. A question is read and answered with "
        f"{record['new_tokens']} tokens.",
    ]
    columns = [(part, kind) for part in ("chunk", "question") for kind in _KINDS]
    for family, policies in record["costs"].items():
        lines += ["", f"### {family}", ""]
        lines += [
            "| policy | " + " | ".join(f"{part}: {_KINDS[kind]}" for part, kind in columns) + " |"
        ]
        lines += ["|---" * (len(columns) + 1) + "|"]
        for policy, costs in policies.items():
            cells = [
                f"{costs['1'][part][kind]} / {costs['2'][part][kind]}" for part, kind in columns
            ]
            lines += [f"| {policy} | " + " | ".join(cells) + " |"]
    return lines


def _rows(record: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in record.items():
        if isinstance(value, dict):
            rows += _rows(value, f"{prefix}{key} ")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for entry in value:
                label, *rest = entry.items()
                rows += _rows(dict(rest), f"{prefix}{key} {label[1]} ")
        else:
            rows.append((f"{prefix}{key}", _shown(key if not prefix else prefix + key, value)))
    return rows


def _shown(key: str, value: Any) -> str:
    if "bytes" in key:
        return f"{value / 2**20:.1f} MiB"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)
