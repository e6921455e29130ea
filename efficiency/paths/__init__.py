"""Ways of watching and answering that are measured side by side. A new one is one entry here."""

from __future__ import annotations

from efficiency.paths.engine_path import EnginePath, PlainPath
from efficiency.paths.growing_path import GrowingPath
from efficiency.paths.path import Answered, Path
from efficiency.paths.release_path import ReleasePath

KINDS: tuple[type[Path], ...] = (EnginePath, PlainPath, ReleasePath, GrowingPath)
PATHS: dict[str, type[Path]] = {kind.name: kind for kind in KINDS}
"""Name -> path. `plain` is what the others are held to; `ours` is what users get."""

__all__ = ["PATHS", "Answered", "EnginePath", "GrowingPath", "Path", "PlainPath", "ReleasePath"]
