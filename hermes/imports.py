"""Names that are imported when they are first used, and a check that they are ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HOME = Path(__file__).resolve().parents[1]
"""The folder in which all our packages lie side by side."""


def lazy_names(package: str, names_of: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """A module's `__getattr__` (PEP 562) that imports a name's file when the name is needed.

    Args:
        package: dotted name of the package that offers the names.
        names_of: file below the package -> the names that it defines.
    """
    home_of = {name: file for file, names in names_of.items() for name in names}

    def find(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{home_of[name]}"), name)

    return find


def require_ours(*packages: str) -> None:
    """Make sure that these names import our packages; nothing is imported for that.

    Raises:
        ImportError: a file or folder of the caller's has the name of a package of ours, or the
            installation lacks the package.
    """
    for package in packages:
        found = find_spec(package)
        place = None if found is None else found.origin or str(found.submodule_search_locations)
        if place is None:
            raise ImportError(
                f"'{package}' is nowhere, although it lies in {HOME}: this installation of "
                "hermes-stream is older than its files; install it again (pip install -e .)",
                name=package,
            )
        if Path(place).resolve().parent.parent != HOME:
            raise ImportError(
                f"'{package}' is {place} but should be {HOME / package}, a package of "
                "hermes-stream: give the file or folder in the way another name, or start Python "
                "where it is not on sys.path",
                name=package,
                path=place,
            )
