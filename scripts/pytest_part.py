"""Runs of pytest whose skips cannot pass for successes: what ran, what did not and why."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
MOST_WORKERS = min(16, os.cpu_count() or 1)


def run_command(
    command: list[str], seconds: float, environment: dict[str, str], log: Path | None = None
) -> dict[str, Any]:
    """Run in the repository, output to the terminal or a file; exit code None after `seconds`."""
    print(f"\n> {' '.join(command)}{f' > {log}' if log else ''}", flush=True)
    start = time.monotonic()
    with log.open("w") if log else nullcontext() as output:
        try:
            code: int | None = subprocess.run(
                command,
                cwd=ROOT,
                env=os.environ | environment,
                timeout=max(seconds, 1),
                check=False,
                stdout=output,
                stderr=subprocess.STDOUT if log else None,
            ).returncode
        except subprocess.TimeoutExpired:
            code = None
    return {"exit_code": code, "seconds": round(time.monotonic() - start, 1)}


def left_out_files(files: list[str], optional: list[str]) -> dict[str, str]:
    """Test files that cannot be imported because one of the `optional` modules is missing.

    Files that cannot be imported for another reason are not among them: they have to fail.
    """
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    found = subprocess.run(
        [*command, *files], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout
    left_out = {}
    for part in re.split(r"_+ ERROR collecting ", found)[1:]:
        names = [name for name in optional if re.search(rf"\b{name}\b", _last_error(part))]
        if names:
            left_out[part.split()[0]] = f"needs {names[0]}, which is not installed"
    return left_out


def _last_error(part: str) -> str:
    errors = [line for line in part.splitlines() if "ModuleNotFoundError" in line]
    return errors[-1] if errors else ""


def run_tests(
    files: list[str],
    left_out: dict[str, str],
    seconds: float,
    environment: dict[str, str],
    workers: int = MOST_WORKERS,
    log: Path | None = None,
) -> dict[str, Any]:
    """Run test files or folders: `exit_code`, `seconds`, counts, every reason for a skip.

    Folders are spread over `workers` by files, named files by tests: the longest takes most of the
    time.
    """
    folders = any((ROOT / name).is_dir() for name in files)
    several = len(files) > 1 or folders
    spread = ["-n", str(workers), "--dist", "loadfile" if folders else "load"] if several else []
    spread += ["-p", "no:benchmark"]  # where that plugin is, it warns once per worker
    ignored = [f"--ignore={name}" for name in left_out]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *spread]
        command += [f"--junitxml={report}", *ignored, *set_apart(files, left_out)]
        result = run_command(command, seconds, {"OMP_NUM_THREADS": "1", **environment}, log)
        return result | (_counts(report) if report.is_file() else {"passed": 0})


def set_apart(files: list[str], left_out: dict[str, str]) -> list[str]:
    """`files` without those that are left out; --ignore does not hold for files that are named."""
    return [name for name in files if name not in left_out]


def _counts(report: Path) -> dict[str, Any]:
    cases = list(ElementTree.parse(report).iter("testcase"))
    skips = [case.find("skipped") for case in cases]
    reasons = Counter(_reason(skip) for skip in skips if skip is not None)
    failed = [case for case in cases if _broke(case)]
    return {
        "passed": len(cases) - len(failed) - sum(reasons.values()),
        "failed": [f"{case.get('classname')}::{case.get('name')}" for case in failed],
        "skipped": dict(reasons),
    }


def _reason(skip: ElementTree.Element) -> str:
    """Of a whole file that is skipped only the text says why."""
    message = str(skip.get("message"))
    return str(skip.text) if message == "collection skipped" else message


def _broke(case: ElementTree.Element) -> bool:
    return case.find("failure") is not None or case.find("error") is not None
