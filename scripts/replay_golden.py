"""Replay traces of the released engines, or of this one (tests/golden_ours).

python scripts/replay_golden.py tests/golden
python scripts/replay_golden.py CHECKPOINT_DIR TRACE.npz...

A folder alone holds packed checkpoints and traces (scripts/shrink_golden.py); it is unpacked aside.
One line per trace; exit code 1 if any differs, 2 if something cannot be read.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from inference import ModelLoadError
from scripts.replay import TraceError, replay
from scripts.shrink_golden import unpack

CHECKPOINTS = {
    "llava": "tiny-llava-onevision",
    "qwen": "tiny-qwen2.5-vl",
    "qwen3": "tiny-qwen3-vl",
}
"""Family, the first word of a trace's name -> how its checkpoints are called, the seed follows."""


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Replay traces of the released engines.")
    parser.add_argument(
        "checkpoint", type=Path, help="checkpoint in hub format, or a folder of packed ones"
    )
    parser.add_argument(
        "traces", type=Path, nargs="*", help="trace files (.npz; default: those of the folder)"
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=1e-4,
        help="largest absolute difference of keys and values (default: 1e-4)",
    )
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            return _replay_all(list(_pairs(options, Path(scratch))), options.tolerance)
        except (TraceError, ModelLoadError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2


def _pairs(options: argparse.Namespace, scratch: Path) -> Iterator[tuple[Path, Path]]:
    """(checkpoint, trace) of the command line, or of a folder that holds both."""
    if options.traces:
        yield from ((options.checkpoint, trace) for trace in options.traces)
        return
    if not (names := sorted(path.name for path in options.checkpoint.glob("*_seed*.npz"))):
        raise TraceError(f"no traces (*_seed*.npz) in {options.checkpoint}; name them")
    if unknown := {name.split("_")[0] for name in names} - CHECKPOINTS.keys():
        raise TraceError(f"{', '.join(sorted(unknown))}: known are {', '.join(CHECKPOINTS)}")
    folder = unpack(options.checkpoint, scratch)
    yield from ((folder / _checkpoint(name), folder / name) for name in names)


def _checkpoint(trace: str) -> str:
    seed = trace.removesuffix(".npz").partition("_seed")[2]
    return f"{CHECKPOINTS[trace.split('_')[0]]}-{seed}"


def _replay_all(pairs: list[tuple[Path, Path]], tolerance: float) -> int:
    passed = True
    for checkpoint, trace in pairs:
        result = replay(checkpoint, trace)
        print(result.line(tolerance))
        passed &= result.passed(tolerance)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
