"""The lower bounds of pyproject.toml are the versions that `make test-oldest` installs."""

from __future__ import annotations

import os
import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
TESTED_ON_THE_GPU_MACHINE = {"torch"}
"""Its lower bound is what scripts/gpu_check.sh meets; constraints-oldest.txt pins a later one."""


def _declared() -> dict[str, Version]:
    """Lower bounds of what the package and its tests need; linters are not part of it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = project["dependencies"] + project["optional-dependencies"]["test"]
    found = (re.match(r"([\w-]+)>=([\d.]+)", line) for line in lines)
    return {match[1]: Version(match[2]) for match in found}


def _pinned(name: str) -> dict[str, Version]:
    lines = (ROOT / name).read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {package: Version(pin) for package, pin in pairs}


def test_every_lower_bound_is_the_oldest_tested_version():
    declared, pinned = _declared(), _pinned("constraints-oldest.txt")
    assert declared.keys() == pinned.keys()
    unequal = {name for name in declared if declared[name] != pinned[name]}
    assert unequal == TESTED_ON_THE_GPU_MACHINE
    assert all(declared[name] < pinned[name] for name in unequal)


def test_the_usual_versions_satisfy_the_lower_bounds():
    declared, usual = _declared(), _pinned("constraints.txt")
    assert all(usual[name] >= declared[name] for name in declared)


@pytest.mark.skipif(
    os.environ.get("HERMES_TEST_OLDEST") != "1", reason="only `make test-oldest` installs these"
)
def test_the_oldest_versions_are_the_ones_at_work():
    pinned = _pinned("constraints-oldest.txt")
    at_work = {name: Version(Version(version(name)).public) for name in pinned}
    assert at_work == pinned
