"""Replay traces of the released engines.

python scripts/replay_golden.py CHECKPOINT_DIR TRACE.npz...

One line per trace; exit code 1 if any differs, 2 if something cannot be read.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from inference import ModelLoadError
from inference.replay import TraceError, replay


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Replay traces of the released engines.")
    parser.add_argument("checkpoint", type=Path, help="checkpoint folder in hub format")
    parser.add_argument("traces", type=Path, nargs="+", help="trace files (.npz)")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=1e-4,
        help="largest absolute difference of keys and values (default: 1e-4)",
    )
    options = parser.parse_args(argv)
    passed = True
    for trace in options.traces:
        try:
            result = replay(options.checkpoint, trace)
        except (TraceError, ModelLoadError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        print(result.line(options.tolerance))
        passed &= result.passed(options.tolerance)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
