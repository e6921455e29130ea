"""The arrows of the design: who may import whom."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = {"hermes", "inference", "video_qa", "eval", "scripts", "tests"}
MAY_IMPORT_OF_OURS = {
    "hermes": {"hermes"},
    "inference": {"hermes", "inference"},
    "video_qa": {"hermes", "inference", "video_qa"},
    "eval": {"eval"},
}
EXCEPTIONS = {"video_qa/run_infer.py": {"eval"}, "video_qa/compare.py": {"eval"}}
"""Only the command lines of the runner and of the comparison end by calling an evaluator."""
METHOD_MAY_IMPORT = {"torch", "safetensors", "numpy"}
EVAL_MAY_NOT_IMPORT = {"torch", "transformers", "av"}


def _imports(path: Path) -> set[str]:
    """Top-level names of every import of a file, also of those inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            own = path.relative_to(ROOT).parts[0]
            found.add(own if node.level else (node.module or "").split(".")[0])
    return found


def _files(package: str) -> list[Path]:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files, f"the package {package} is gone"
    return files


@pytest.mark.parametrize("package", MAY_IMPORT_OF_OURS)
def test_arrows(package):
    for path in _files(package):
        name = path.relative_to(ROOT).as_posix()
        allowed = MAY_IMPORT_OF_OURS[package] | EXCEPTIONS.get(name, set())
        wrong = (_imports(path) & OURS) - allowed
        assert not wrong, f"{name} imports {', '.join(sorted(wrong))}"


def test_the_method_needs_torch_and_little_else():
    for path in _files("hermes"):
        others = _imports(path) - METHOD_MAY_IMPORT - {"hermes"} - sys.stdlib_module_names
        assert not others, f"{path.name} imports {', '.join(sorted(others))}"


def test_evaluators_never_import_a_model_library():
    for path in _files("eval"):
        assert not _imports(path) & EVAL_MAY_NOT_IMPORT, path.name


def test_a_family_is_named_in_its_own_file_only():
    """Tables of families elsewhere would make a new one more than a file and a registry entry."""
    from inference.registry import FAMILIES

    for family in FAMILIES.values():
        name = family.engine.family
        own = {Path(inspect.getfile(family.engine)).name, "tiny_checkpoints.py"}
        for path in (path for package in MAY_IMPORT_OF_OURS for path in _files(package)):
            nodes = ast.walk(ast.parse(path.read_text()))
            texts = {node.value for node in nodes if isinstance(node, ast.Constant)}
            assert name not in texts or path.name in own, f"{path.relative_to(ROOT)} names {name}"


LEAN = {
    "import hermes": ("transformers", "inference"),
    "import eval.eval_multiple_choice, eval.eval_open_ended": ("torch", "transformers", "hermes"),
}


@pytest.mark.parametrize(("statement", "absent"), LEAN.items(), ids=LEAN)
def test_importing_loads_no_more_than_it_should(statement, absent):
    if "open_ended" in statement:
        pytest.importorskip("openai")
    check = (
        f"{statement}, sys\nloaded = set({absent!r}) & set(sys.modules)\nassert not loaded, loaded"
    )
    done = subprocess.run(
        [sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_check_itself_sees_hidden_imports(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    (tmp_path / "hermes").mkdir()
    path = tmp_path / "hermes" / "sly.py"
    path.write_text("def f():\n    from transformers.models import x\n    import video_qa.base\n")
    assert _imports(path) == {"transformers", "video_qa"}
