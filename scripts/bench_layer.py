"""What a decoder layer beside attention costs: by its modules, in few operators, compiled.

    python scripts/bench_layer.py --model llava_ov_0.5b --rows 1,3136

Builds one layer of the real width with random weights, nothing is downloaded. The ways take turns,
so that what else the machine does meets all of them; on a GPU every sample is synchronised.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._inductor import metrics

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from efficiency.models.random_model import build, shape_of
from efficiency.models.shapes import SHAPES
from efficiency.operators import Operators
from efficiency.spans import quantiles
from inference.answers.timing import Stopwatch
from inference.layers.fused_layer import FusedLayer
from inference.layers.plain_layer import PlainLayer

NUM_PRODUCTS = 4
"""Matrix products of a fused layer, which a compiler leaves to the library."""
Run = Callable[[Tensor], Tensor]


def main(argv: list[str] | None = None) -> int:
    """Print a table; 0 if all went well."""
    options = _parse(argv)
    device, dtype = torch.device(options.device), getattr(torch, options.dtype)
    ways = _ways(_layer(options.model, device, dtype), options.ways)
    results = {}
    for rows in options.rows:
        hidden = torch.randn(rows, options.width, device=device, dtype=dtype)
        results[str(rows)] = _measured(ways, hidden, options.repeats)
    print(json.dumps({**vars(options), "torch": torch.__version__}, default=str))
    print("\n".join(_table(results)))
    return 0


def _layer(key: str, device: torch.device, dtype: torch.dtype) -> nn.Module:
    layer = build(shape_of(key), "meta", dtype).model.language_model.layers[0]
    layer = layer.to_empty(device=device)
    with torch.no_grad():
        for weight in layer.parameters():
            nn.init.normal_(weight, std=0.02)
    return layer


def _ways(layer: nn.Module, names: list[str]) -> dict[str, Run]:
    plain, fused = _beside_attention(PlainLayer(layer)), _beside_attention(FusedLayer(layer))
    known = {"plain": plain, "fused": fused, "compiled": torch.compile(fused, dynamic=False)}
    return {name: known[name] for name in names}


def _beside_attention(layer: Any) -> Run:
    """Queries stand for what attention would give."""

    @torch.no_grad()
    def run(hidden: Tensor) -> Tensor:
        queries, keys, values = layer.project(hidden)
        rows = queries + (keys.mean() + values.mean())
        return layer.finish(hidden, rows.transpose(0, 1).reshape(len(hidden), -1))

    return run


def _measured(ways: dict[str, Run], hidden: Tensor, repeats: int) -> dict[str, dict[str, Any]]:
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    generated = {}
    for name, run in ways.items():
        metrics.reset()
        for _ in range(3):
            run(hidden)
        generated[name] = metrics.generated_kernel_count
    watch = Stopwatch(hidden.device)
    for _ in range(repeats):
        for name, run in ways.items():
            watch.restart()
            run(hidden)
            seconds[name].append(watch.seconds())
    found = {}
    for name, run in ways.items():
        count = generated[name] + NUM_PRODUCTS if generated[name] else _operators(run, hidden)
        found[name] = {**(quantiles(seconds[name]) or {}), "operators": count}
    return found


def _operators(run: Run, hidden: Tensor) -> int:
    with Operators() as mode:
        run(hidden)
    return mode.count


def _table(results: dict[str, dict[str, dict[str, Any]]]) -> list[str]:
    lines = ["| rows | way | p50 us | p95 us | operators |", "|--:|---|--:|--:|--:|"]
    for rows, ways in results.items():
        for name, found in ways.items():
            times = f"{found['p50'] * 1e6:.0f} | {found['p95'] * 1e6:.0f}"
            lines.append(f"| {rows} | {name} | {times} | {found['operators']} |")
    return lines


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    keys = sorted(SHAPES)
    add("--model", choices=keys, default="llava_ov_0.5b", help="whose width (default: %(default)s)")
    add("--rows", type=_numbers, default=[1, 3136], help="tokens at a time (default: 1,3136)")
    names = ("plain", "fused", "compiled")
    add("--ways", nargs="+", choices=names, default=list(names), help="default: all")
    add("--repeats", type=int, default=50, help="of every way (default: %(default)s)")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="default: a GPU")
    add("--dtype", choices=("float16", "bfloat16", "float32"), help="default: of the device")
    options = parser.parse_args(argv)
    options.dtype = options.dtype or ("float32" if options.device == "cpu" else "float16")
    options.width = shape_of(options.model).text["hidden_size"]
    return options


def _numbers(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",") if word]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected numbers with commas, got {text!r}") from error


if __name__ == "__main__":
    sys.exit(main())
