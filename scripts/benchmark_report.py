"""docs/benchmarks.md from the JSON files beside it: no figure is typed by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from efficiency.table import tables

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "benchmarks"
REPORT = ROOT / "docs" / "benchmarks.md"

_KINDS = {"waits": "waits", "copies": "copies", "peer_copies": "peer", "operators": "operators"}

_HEAD = """# Benchmarks

Written by `scripts/bench_memory.py report` from `docs/benchmarks/*.json`; the command of each
measurement stands beside it. Models are tiny and random unless a section says otherwise: the
figures are about the memory, the loop and the decoder of videos, not about a 7B model.
"""
_EFFICIENCY = "efficiency"
"""Records whose name begins so are those of scripts/bench_efficiency.py."""


def write_report() -> None:
    """Rewrite docs/benchmarks.md."""
    sections = [_HEAD]
    records = {path.stem: json.loads(path.read_text()) for path in RESULTS.glob("*.json")}
    sections.append(_gpu_note(records))
    sections += [_section(name, records[name]) for name in sorted(records)]
    REPORT.write_text("\n".join(sections))


def _gpu_note(records: dict[str, Any]) -> str:
    """Which measurements of whole models there are, and whether a GPU is among their devices."""
    measured = {n: found for n, found in records.items() if n.startswith(_EFFICIENCY)}
    lines = ["## Whole models", ""]
    if not any(found["device_type"] == "cuda" for found in measured.values()):
        lines += [
            "Nothing on this page has been measured on a GPU: none has been at hand. There,",
            "",
        ]
        lines += ["    bash scripts/gpu_check.sh --part bench", ""]
        lines += ["measures LLaVA-OneVision-7B, Qwen2.5-VL-7B and Qwen3-VL-8B of random weights."]
    if not measured:
        lines += ["", "`scripts/bench_efficiency.py` has not been run for this page yet."]
    elif len(lines) > 2:
        lines += [""]
    lines += [
        f"- {found['model']} on {found['device']}: {name}" for name, found in measured.items()
    ]
    return "\n".join(lines) + "\n"


def _section(name: str, record: dict[str, Any]) -> str:
    command = record.pop("command", f"python scripts/bench_{name}.py")
    lines = [f"## {name}", "", f"`{command}`", ""]
    if name.startswith(_EFFICIENCY):
        lines += tables(record)
    elif "costs" in record:
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
