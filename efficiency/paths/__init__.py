"""Ways of watching and answering that are measured side by side. A new one is one entry here."""

from __future__ import annotations

from efficiency.paths.engine_path import EnginePath
from efficiency.paths.growing_path import GrowingPath
from efficiency.paths.path import Answered, Path
from efficiency.paths.release_path import ReleasePath

PATHS: dict[str, type[Path]] = {kind.name: kind for kind in (EnginePath, ReleasePath, GrowingPath)}
"""Name -> path. `ours`, the plain loop, is what the others are held to."""

__all__ = ["PATHS", "Answered", "EnginePath", "GrowingPath", "Path", "ReleasePath"]
