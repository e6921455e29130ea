"""A record as Markdown tables, for the terminal and for docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

STEPS = {
    "vision": "vision",
    "reading": "chunk prefill",
    "logits": "logits of visual tokens",
    "scoring": "scoring",
    "compaction": "compaction",
    "chunk": "whole chunk",
}
_GIB = 2**30


def tables(record: Mapping[str, Any]) -> list[str]:
    """Lines of Markdown."""
    paths = record["paths"]
    stopped = {name: path["stopped"] for name, path in paths.items() if path["stopped"]}
    lines = [_head(record), "", *_notes("NOT REPORTED", record["refused"])]
    lines += _notes("FAILED", record.get("failed", {})) + _notes("stopped", stopped)
    if not record.get("finished", True):
        lines += ["NOT FINISHED: what follows was measured before the program ended.", ""]
    if paths:
        lines += _steps(paths)
        for frames in sorted({n for path in paths.values() for n in path["at"]}, key=int):
            lines += _at(frames, paths)
        lines += [*_operators(paths), *_memory(paths), *_roofline(paths)]
    return [*lines, *_ratios(record), *_streams(record["streams"])]


def _head(record: Mapping[str, Any]) -> str:
    weights = "random weights" if record["random_weights"] else "a checkpoint"
    ceilings = record["ceilings"]
    vision = ", vision left out" if record["without_vision"] else ""
    return (
        f"{record['model']} ({weights}, {record['num_parameters'] / 1e9:.3g} B parameters) on "
        f"{record['device']}, {record['dtype']}, policy {record['policy']}, kv_size "
        f"{record['kv_size']}, chunks of {record['chunk_frames']} frames "
        f"({record['tokens_per_chunk']} tokens){vision}. Ceilings measured in the same run: "
        f"{ceilings['flops_per_second'] / 1e12:.3g} TFLOP/s, "
        f"{ceilings['bytes_per_second'] / 1e9:.3g} GB/s. Medians / 95th percentiles in "
        "milliseconds; `ours` is this engine, `release` the same weights driven as the release "
        "does, `growing` a cache that keeps everything."
    )


def _notes(what: str, reasons: Mapping[str, str]) -> list[str]:
    return [f"{what}: {name}: {reason}\n" for name, reason in reasons.items()]


def _steps(paths: Mapping[str, Any]) -> list[str]:
    rows = {
        label: [_milli(path["steps"].get(key)) for path in paths.values()]
        for key, label in STEPS.items()
    }
    return _table("chunk of a full memory", list(paths), rows)


def _at(frames: str, paths: Mapping[str, Any]) -> list[str]:
    points = [path["at"].get(frames, {}) for path in paths.values()]
    names = dict.fromkeys(key for point in points for key in point if key.startswith("t"))
    names.pop("tokens_per_layer", None)
    rows = {"frames per second": [_number(p.get("frames_per_second")) for p in points]}
    for name in names:
        rows[_label(name)] = [_milli(point.get(name)) for point in points]
    rows["memory, MiB"] = [_number(p.get("memory_bytes"), 2**20) for p in points]
    return _table(f"after {frames} frames", list(paths), rows)


def _operators(paths: Mapping[str, Any]) -> list[str]:
    names = list(dict.fromkeys(name for path in paths.values() for name in path["operators"]))
    rows = {
        _label(name): [str(path["operators"].get(name, "")) for path in paths.values()]
        for name in names
    }
    rows["token, per layer"] = [_number(p["operators_per_token_and_layer"]) for p in paths.values()]
    return _table("operators", list(paths), rows)


def _memory(paths: Mapping[str, Any]) -> list[str]:
    kinds = {p["memory"]["working_by"] for p in paths.values()}
    rows = {
        "steady memory, GiB": [_number(p["memory"]["steady_bytes"], _GIB) for p in paths.values()],
        f"working memory ({', '.join(sorted(kinds))}), GiB": [
            _number(p["memory"]["working_bytes"], _GIB) for p in paths.values()
        ],
        **{
            f"of it: {STEPS.get(step, step.replace('_', ' '))}, GiB": [
                _number(p["memory"]["working_bytes_of_steps"].get(step), _GIB)
                for p in paths.values()
            ]
            for step in ("vision", "reading", "make_room", "question")
        },
        "peak with weights, GiB": [
            _number(p["memory"]["peak_bytes"], _GIB) for p in paths.values()
        ],
    }
    return _table("memory", list(paths), rows)


def _roofline(paths: Mapping[str, Any]) -> list[str]:
    names = list(dict.fromkeys(name for path in paths.values() for name in path["roofline"]))
    rows = {
        _label(name): [_share(p["roofline"].get(name)) for p in paths.values()] for name in names
    }
    return _table("share of the ceiling that binds", list(paths), rows)


def _ratios(record: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, lengths in record["ratios"].items():
        keys = list(dict.fromkeys(key for found in lengths.values() for key in found))
        rows = {
            _label(key): [_number(found.get(key)) for found in lengths.values()] for key in keys
        }
        columns = [f"{frames} frames" for frames in lengths]
        lines += _table(f"times as fast as {name}", columns, rows)
    if record["free_ceiling"]:
        lines += [
            "Free scoring, compaction and no logits of visual tokens would allow "
            f"{record['free_ceiling']:.3g} times the frames per second of the release.",
            "",
        ]
    return lines


def _streams(streams: Mapping[str, Any]) -> list[str]:
    if not streams:
        return []
    names = list(next(iter(streams.values())))
    rows = {
        name.replace("_", " "): [_number(each[name]) for each in streams.values()] for name in names
    }
    return _table("streams at once, all together", list(streams), rows)


def _table(title: str, columns: Sequence[str], rows: Mapping[str, list[str]]) -> list[str]:
    shown = {label: cells for label, cells in rows.items() if any(cell != "" for cell in cells)}
    return [
        f"| {title} | " + " | ".join(columns) + " |",
        "|---" * (len(columns) + 1) + "|",
        *(f"| {label} | " + " | ".join(cells) + " |" for label, cells in shown.items()),
        "",
    ]


def _label(name: str) -> str:
    if name.startswith("ttft_"):
        return f"first token, question of {name.removeprefix('ttft_')} tokens"
    return {**STEPS, "tpot": "per token"}.get(name, name.replace("_", " "))


def _milli(found: Mapping[str, float] | None) -> str:
    return f"{found['p50'] * 1e3:.4g} / {found['p95'] * 1e3:.4g}" if found else ""


def _number(value: float | None, unit: float = 1) -> str:
    return "" if value is None else f"{value / unit:.4g}"


def _share(found: Mapping[str, Any] | None) -> str:
    return f"{found['share']:.1%} ({found['ceiling']})" if found else ""
