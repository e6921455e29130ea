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
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import wait
from pathlib import Path

import pytest
import torch  # noqa: F401 - so that a forked process need not import it
import transformers  # noqa: F401
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("hermes", "inference")
TESTS = (
    "tests/test_inference_pretended.py",
    "tests/test_inference_saved_policies.py::test_states_move_between_devices",
    "tests/test_inference_together.py::test_budgets_per_band_and_two_devices",
    "tests/test_qwen3_pretended.py",
    "tests/test_execution_pretended.py::test_a_recorded_pass_neither_waits_nor_copies",
    "tests/test_inference_encode_together.py",
)
COPIED = (*PACKAGES, "video", "video_qa", "eval", "efficiency", "scripts", "tests")
COPIED += ("docs/benchmarks", "pyproject.toml")
LEFT_OUT = {
    "inference/checkpoints/loading.py": "loads real weights onto real devices",
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
        copies = [_copy(Path(folder) / str(job)) for job in range(args.jobs)]
        noticed = dict(tqdm(_noticed(removals, copies), total=len(removals)))
    missed = [removal for removal, seen in noticed.items() if not seen]
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
            if keyword.arg == "device" and _calls_torch(node) and not _on_no_device(keyword):
                yield _without(path, text, keyword, "")


def _noticed(removals: list[Removal], copies: list[Path]) -> Iterator[tuple[Removal, bool]]:
    """Each removal and whether a test fails without it. Forks from the only thread there is."""
    waiting, running = list(removals), {}
    while waiting or running:
        while waiting and copies:
            removal, copy = waiting.pop(0), copies.pop()
            (copy / removal.path).write_text(removal.text)
            process = get_context("fork").Process(target=_run_tests, args=(copy,))
            process.start()
            running[process.sentinel] = process, removal, copy
        for sentinel in wait(list(running)):
            process, removal, copy = running.pop(sentinel)  # type: ignore[arg-type]
            process.join()
            shutil.copy(ROOT / removal.path, copy / removal.path)
            copies.append(copy)
            if process.exitcode == 0:
                tqdm.write(f"not noticed: {removal.path}:{removal.line}: {removal.transfer}")
            yield removal, process.exitcode == 1


def _run_tests(copy: Path) -> None:
    """In a forked process, which has the libraries already and none of our packages."""
    os.chdir(copy)
    sys.path[:0] = [str(copy), str(copy / "tests")]
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
        options = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "--rootdir", str(copy)]
        code = pytest.main([*options, *TESTS])
    os._exit(int(code))


def _moves(node: ast.Call) -> bool:
    """`x.cpu()` and `x.to(...)`, unless it only changes the dtype."""
    assert isinstance(node.func, ast.Attribute)
    if node.func.attr == "cpu":
        return True
    wanted = ast.unparse(node.args[0]) if node.args else ""
    return node.func.attr == "to" and not ("dtype" in wanted or wanted.startswith("torch."))


def _on_no_device(keyword: ast.keyword) -> bool:
    return ast.unparse(keyword.value) == "'meta'"


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
