"""What must be the same on every machine that answers for one run."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import hermes
from inference.saved.weights_digest import weights_digest
from video_qa.settings.model_registry import model_path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("hermes", "inference", "video", "video_qa")
LIBRARIES = ("torch", "transformers")
Facts = Mapping[str, str]


def node_facts(model: str) -> dict[str, str]:
    """Name -> value on this machine: versions, a digest of the sources, one of the weights.

    Of a library's version the part that is common to all builds (``2.13.0`` of ``2.13.0+cpu``).
    """
    facts = {"hermes-stream": hermes.__version__, "its source files": _sources_digest()}
    facts |= {name: _version(name) for name in LIBRARIES}
    return facts | {"the weights": _weights(model)}


def unequal_facts(expected: Facts, found: Facts) -> list[str]:
    """What differs, worded to follow a node's name."""
    return [
        f"{name}: {found.get(name, 'unknown')} there, {value} here"
        for name, value in expected.items()
        if found.get(name) != value
    ]


def host_name() -> str:
    """For messages."""
    return socket.gethostname()


def _version(library: str) -> str:
    try:
        return version(library).partition("+")[0]
    except PackageNotFoundError:
        return "not installed"


def _weights(model: str) -> str:
    try:
        return weights_digest(model_path(model)) or f"{model} of the hub"
    except ValueError:  # no such model here
        return "missing"


def _sources_digest() -> str:
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:12]
