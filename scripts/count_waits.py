"""What a chunk and a question cost on a GPU besides arithmetic: waits of the host and copies.

    python scripts/count_waits.py

Counted on pretended GPUs (tests/pretended_device.py), on the tiny random models of the tests;
writes docs/benchmarks/devices.json and the report. No GPU is needed and no time is measured.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from benchmark_report import RESULTS, write_report
from pretended_stream import CHUNK_FRAMES, MAX_NEW_TOKENS, run_stream, stream_on_pretended
from tqdm import tqdm

from hermes.policies import POLICIES
from inference import load_model
from scripts.tiny_checkpoints import save_tiny_checkpoint


def main() -> int:
    """Count, write, report."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    costs: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for family in CHUNK_FRAMES:
            checkpoint = save_tiny_checkpoint(Path(folder) / family, family)
            base, _ = load_model(checkpoint, kv_size=24, device="cpu", sample_fps=1)
            costs[family] = {
                policy: {str(devices): count(base, devices, policy) for devices in (1, 2)}
                for policy in tqdm(sorted(POLICIES), desc=family)
            }
    record = {
        "command": "python scripts/count_waits.py",
        "layers": 10,
        "new_tokens": MAX_NEW_TOKENS,
        "costs": costs,
    }
    (RESULTS / "devices.json").write_text(json.dumps(record, indent=1) + "\n")
    write_report()
    return 0


def count(base: Any, num_devices: int, policy: str) -> dict[str, dict[str, int]]:
    """Costs of a chunk and of a question."""
    with stream_on_pretended(base, num_devices, policy=policy) as (engine, traffic):
        costs = run_stream(engine, traffic).costs
    return {part: cost._asdict() for part, cost in costs.items()}


if __name__ == "__main__":
    sys.exit(main())
