"""Removes every device transfer of the engine singly and says which removals no test notices.

    python scripts/remove_transfers.py [--only hermes/memory.py] [--jobs 2]

A transfer is `x.to(device)`, `x.cpu()` or a `device=` of a factory in `hermes/` and `inference/`.
Each is removed in a copy of the checkout, where the tests on pretended GPUs then have to fail.
Takes about a quarter of an hour on two cores; exit code 1 if a removal is not noticed.
"""

from __future__ import annotations

import argparse
import ast
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue

from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("hermes", "inference")
TESTS = ("tests/test_inference_pretended.py",)
COPIED = (*PACKAGES, "video", "video_qa", "eval", "scripts", "tests")
COPIED += ("docs/benchmarks", "pyproject.toml")
LEFT_OUT = {
    "inference/loading.py": "loads real weights onto real devices",
}


@dataclass(frozen=True)
class Removal:
    """A file's text without one transfer."""

    path: str
    line: int
    transfer: str
    text: str


def main() -> int:
    """Remove, test, report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="only files whose path begins so")
    parser.add_argument("--jobs", type=int, default=2, help="copies tested at a time (default 2)")
    args = parser.parse_args()
    removals = [removal for removal in all_removals() if removal.path.startswith(args.only)]
    with tempfile.TemporaryDirectory() as folder:
        copies: SimpleQueue[Path] = SimpleQueue()
        for job in range(args.jobs):
            copies.put(_copy(Path(folder) / str(job)))
        with ThreadPoolExecutor(args.jobs) as pool:
            noticed = list(
                tqdm(pool.map(partial(is_noticed, copies), removals), total=len(removals))
            )
    missed = [removal for removal, seen in zip(removals, noticed, strict=True) if not seen]
    for removal in missed:
        print(f"not noticed: {removal.path}:{removal.line}: {removal.transfer}")
    print(f"{len(removals)} transfers removed singly, {len(missed)} not noticed")
    for path, reason in LEFT_OUT.items():
        print(f"left out: {path} ({reason})")
    return 1 if missed else 0


def all_removals() -> list[Removal]:
    """Of every file that is not left out."""
    paths = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    names = [path.relative_to(ROOT).as_posix() for path in paths]
    return [
        removal
        for name in names
        if name not in LEFT_OUT
        for removal in removals_of(name, (ROOT / name).read_text())
    ]


def removals_of(path: str, text: str) -> Iterator[Removal]:
    """One per transfer in a file."""
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        moved = node.func.value if isinstance(node.func, ast.Attribute) else None
        if moved is not None and _moves(node):
            yield _without(path, text, node, ast.get_source_segment(text, moved) or "")
        for keyword in node.keywords:
            if keyword.arg == "device" and _calls_torch(node):
                yield _without(path, text, keyword, "")


def is_noticed(copies: SimpleQueue[Path], removal: Removal) -> bool:
    """Whether a test fails without the transfer."""
    copy = copies.get()
    target = copy / removal.path
    try:
        target.write_text(removal.text)
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *TESTS]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(copy)}
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, text=True, check=False
        )
        return done.returncode == 1
    finally:
        shutil.copy(ROOT / removal.path, target)
        copies.put(copy)


def _moves(node: ast.Call) -> bool:
    """`x.cpu()` and `x.to(...)`, unless it only changes the dtype."""
    assert isinstance(node.func, ast.Attribute)
    if node.func.attr == "cpu":
        return True
    wanted = ast.unparse(node.args[0]) if node.args else ""
    return node.func.attr == "to" and not ("dtype" in wanted or wanted.startswith("torch."))


def _calls_torch(node: ast.Call) -> bool:
    return ast.unparse(node.func).startswith("torch.")


def _without(path: str, text: str, node: ast.expr | ast.keyword, instead: str) -> Removal:
    lines = text.splitlines(keepends=True)
    before = [sum(map(len, lines[: line - 1])) for line in (node.lineno, node.end_lineno or 0)]
    start, stop = before[0] + node.col_offset, before[1] + (node.end_col_offset or 0)
    if isinstance(node, ast.keyword):  # the comma before it goes too
        start = len(text[:start].rstrip().removesuffix(","))
    transfer = text[start:stop].strip(", \n")
    return Removal(path, node.lineno, transfer, text[:start] + instead + text[stop:])


def _copy(folder: Path) -> Path:
    for name in COPIED:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    return folder


if __name__ == "__main__":
    sys.exit(main())
