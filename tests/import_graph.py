"""Who imports whom, read from the source: also inside functions and under TYPE_CHECKING."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

Graph = Mapping[str, set[str]]


class Import(NamedTuple):
    """One imported name, dotted, and whether importing the file leaves it alone: the import stands
    in a function or is for type checkers only."""

    name: str
    is_lazy: bool


def imports(path: Path, root: Path) -> Iterator[Import]:
    """Every import of a file; of ``from a import b`` it is ``a.b``, whatever b is."""
    yield from _below(ast.parse(path.read_text()), path.relative_to(root), False)


def _below(node: ast.AST, path: Path, is_lazy: bool) -> Iterator[Import]:
    is_lazy = is_lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    is_lazy = is_lazy or (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    yield from (Import(name, is_lazy) for name in _names(node, path))
    for child in ast.iter_child_nodes(node):
        yield from _below(child, path, is_lazy)


def _names(node: ast.AST, path: Path) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        folders = path.parent.parts
        package = folders[: len(folders) + 1 - node.level] if node.level else ()
        start = ".".join((*package, *([node.module] if node.module else ())))
        return [f"{start}.{alias.name}" for alias in node.names]
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
        return [arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant)]
    return []


def import_graph(root: Path, packages: set[str]) -> dict[str, set[str]]:
    """File -> the files of these packages that it imports, as paths relative to `root`."""
    paths = [path for package in packages for path in sorted((root / package).rglob("*.py"))]
    return {
        path.relative_to(root).as_posix(): {
            found for name, _ in imports(path, root) if (found := _file(name, root))
        }
        for path in paths
    }


def _file(name: str, root: Path) -> str | None:
    """The file that a dotted name lies in: a module, or a package's ``__init__.py``."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        place = root.joinpath(*parts[:count])
        for path in (place.with_suffix(".py"), place / "__init__.py"):
            if path.is_file():
                return path.relative_to(root).as_posix()
    return None


def circles(graph: Graph) -> set[frozenset[str]]:
    """The groups of files each of which reaches all others of its group."""
    reached = {file: _reachable(graph, file) for file in graph}
    groups = {
        frozenset(other for other in reached[file] if file in reached.get(other, ()))
        for file in graph
    }
    return {group for group in groups if group}


def _reachable(graph: Graph, start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = graph.get(waiting.pop(), set()) - found
        found |= new
        waiting += new
    return found
