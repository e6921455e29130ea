"""Carry out comparisons: `video_qa.compare` lets all memories watch side by side, so that a worker
loads the model once and encodes every frame once for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reproduction.degrees.plan import Comparison
from reproduction.degrees.streams import annotations_of
from video_qa.compare import main as compare

SOME_FAILED, STOPPED = 1, 130


def arguments_of(comparison: Comparison, data: Path, root: Path, jobs: int) -> list[str]:
    """The command line of `video_qa/compare.py`."""
    return [
        "--model=nano",
        "--dataset=nanostream",
        "--device=cpu",
        f"--anno_path={annotations_of(comparison.world, data)}",
        f"--policies={','.join(comparison.policies)}",
        f"--kv_sizes={','.join(map(str, comparison.budgets))}",
        f"--sample_fps={comparison.sample_fps:g}",
        f"--limit={comparison.num_streams}",
        f"--num_chunks={jobs}",
        f"--results_root={root / comparison.world.name}",
        f"--out={comparison.folder(root)}",
        "--no_report",
    ]


def run_all(comparisons: Sequence[Comparison], data: Path, root: Path, jobs: int) -> int:
    """Answer what is still owed; the worst exit code. What failed in one does not stop the rest."""
    codes = [0]
    for number, comparison in enumerate(comparisons, start=1):
        print(f"\n[{number}/{len(comparisons)}] {comparison.title}", flush=True)
        codes.append(compare(arguments_of(comparison, data, root, jobs)))
        if codes[-1] == STOPPED:
            break
    return max(codes)
