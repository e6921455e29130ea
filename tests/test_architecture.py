"""The arrows of the design: who may import whom, and that nobody does so in a circle."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from import_graph import circles, import_graph, imports

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT_OF_OURS = {
    "hermes": set(),
    "inference": {"hermes"},
    "video": set(),
    "efficiency": {"hermes", "inference"},
    "video_qa": {"hermes", "inference", "video"},
    "eval": set(),
    "hermes_cli": {"hermes", "inference", "video", "video_qa", "eval"},
    "nano_training": {"hermes", "inference", "video", "video_qa"},
    "interchange": {"hermes", "inference", "video", "video_qa", "eval"},
    "reproduction": {"hermes", "inference", "video", "video_qa", "eval", "efficiency"},
}
"""Beside itself."""
OURS = {*MAY_IMPORT_OF_OURS, "scripts", "tests"}
ENDS_WITH_EVALUATION = {f"video_qa/{name}.py" for name in ("run_infer", "compare", "robustness")}
SHARED = "eval.whole_file"
"""The one atomic write stands in the package that imports nothing; it is no evaluator."""
FACE = {"hermes/__init__.py": "inference", "inference/face/video_chunks.py": "video"}
"""The two exceptions, for `hermes.open` and its `watch(path)`: inside functions and for types."""
METHOD_MAY_IMPORT = {"torch", "safetensors", "numpy"}
EVAL_MAY_NOT_IMPORT = {"torch", "transformers", "av"}
MAX_FILES = 14
CATALOGUES = {"hermes/policies"}
"""Folders of equals, one file each, which may be many."""


def _files(package: str) -> list[Path]:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files, f"the package {package} is gone"
    return files


def _top_level(path: Path, root: Path = ROOT) -> set[str]:
    return {found.name.split(".")[0] for found in imports(path, root)}


def _forbidden(path: Path, root: Path = ROOT) -> set[str]:
    """What of ours a file imports although it may not."""
    name = path.relative_to(root).as_posix()
    package = name.split("/")[0]
    allowed = {package} | MAY_IMPORT_OF_OURS[package]
    if name in ENDS_WITH_EVALUATION:
        allowed.add("eval")
    wrong = set()
    for imported, is_lazy in imports(path, root):
        target = imported.split(".")[0]
        if package == "video_qa" and imported.startswith(f"{SHARED}."):
            continue
        if target in OURS - allowed and not (is_lazy and FACE.get(name) == target):
            wrong.add(target)
    return wrong


@pytest.mark.parametrize("package", MAY_IMPORT_OF_OURS)
def test_arrows(package):
    for path in _files(package):
        wrong = _forbidden(path)
        assert not wrong, f"{path.relative_to(ROOT)} imports {', '.join(sorted(wrong))}"


def test_no_files_import_each_other_in_a_circle():
    graph = import_graph(ROOT, {*MAY_IMPORT_OF_OURS, "scripts"})
    for file, package in FACE.items():
        graph[file] = {f for f in graph.get(file, ()) if not f.startswith(f"{package}/")}
    found = [sorted(group) for group in circles(graph)]
    assert not found, f"circles of imports: {found}"


def test_no_folder_is_crowded():
    for package in MAY_IMPORT_OF_OURS:
        for folder in {path.parent for path in _files(package)}:
            name = folder.relative_to(ROOT).as_posix()
            assert name in CATALOGUES or len(list(folder.glob("*.py"))) <= MAX_FILES, name


def test_the_method_needs_torch_and_little_else():
    for path in _files("hermes"):
        others = _top_level(path) - METHOD_MAY_IMPORT - OURS - sys.stdlib_module_names
        assert not others, f"{path.name} imports {', '.join(sorted(others))}"


def test_evaluators_never_import_a_model_library():
    for path in _files("eval"):
        assert not _top_level(path) & EVAL_MAY_NOT_IMPORT, path.name


def test_a_family_is_named_in_its_own_file_only():
    """Tables of families elsewhere would make a new one more than a file and a registry entry."""
    from inference.checkpoints.registry import FAMILIES, family_of

    for family in map(family_of, FAMILIES):
        name = family.engine.family
        own = {Path(inspect.getfile(family.engine)).name, "tiny_checkpoints.py"}
        for path in (path for package in MAY_IMPORT_OF_OURS for path in _files(package)):
            nodes = ast.walk(ast.parse(path.read_text()))
            texts = {node.value for node in nodes if isinstance(node, ast.Constant)}
            assert name not in texts or path.name in own, f"{path.relative_to(ROOT)} names {name}"


LEAN = {
    "import hermes, inference": (
        "torch",
        "transformers",
        "hermes.memory",
        "inference.checkpoints.loading",
    ),
    "import hermes.policies": ("transformers", "inference"),
    "import inference.checkpoints.models, inference.answers.multiple_choice, hermes.config": (
        "torch",
        "transformers",
    ),
    "import eval.eval_multiple_choice, eval.eval_open_ended": ("torch", "transformers", "hermes"),
    "import video": ("torch", "transformers", "av", "hermes", "inference", "video_qa"),
}


@pytest.mark.parametrize(("statement", "absent"), LEAN.items(), ids=LEAN)
def test_importing_loads_no_more_than_it_should(statement, absent):
    if "open_ended" in statement:
        pytest.importorskip("openai")
    check = (
        f"{statement}, sys\nloaded = [name for name in {absent!r} if sys.modules.get(name)]\n"
        "assert not loaded, loaded"
    )
    done = subprocess.run(
        [sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def _tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


SLY = {
    "hermes/sly.py": "def f():\n    from transformers.models import x\n    import video_qa.base\n",
    "hermes/__init__.py": "def open():\n    from inference import face\n    import video\n",
    "inference/face/video_chunks.py": "import video.reader\n",
    "video_qa/run_infer.py": "import eval.judge\n",
    "video_qa/sly.py": "from eval.whole_file import write_text\nfrom eval import files\n",
    "video_qa/honest.py": "from eval.whole_file import write_text\n",
    "video_qa/base.py": "import importlib\nimportlib.import_module('eval.judge')\n",
    "video/a.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from hermes import x\n",
}
SEEN = {
    "hermes/sly.py": {"video_qa"},
    "hermes/__init__.py": {"video"},
    "inference/face/video_chunks.py": {"video"},
    "video_qa/run_infer.py": set(),
    "video_qa/sly.py": {"eval"},
    "video_qa/honest.py": set(),
    "video_qa/base.py": {"eval"},
    "video/a.py": {"hermes"},
}


@pytest.mark.parametrize("name", SLY)
def test_the_check_itself_sees_hidden_imports(tmp_path, name):
    assert _forbidden(_tree(tmp_path, SLY) / name, tmp_path) == SEEN[name]


CIRCLE = {
    "video/a.py": "from video import b\n",
    "video/b.py": "def f():\n    from . import parts\n",
    "video/parts/__init__.py": "from .c import d\n",
    "video/parts/c.py": "if TYPE_CHECKING:\n    from ..a import e\n",
    "video/apart.py": "import video.a\n",
}


@pytest.mark.parametrize("opened", [None, *CIRCLE])
def test_the_check_itself_sees_circles(tmp_path, opened):
    tree = _tree(tmp_path, CIRCLE | ({opened: ""} if opened else {}))
    circle = frozenset(CIRCLE) - {"video/apart.py"}
    expected = {circle} if opened not in circle else set()
    assert circles(import_graph(tree, {"video"})) == expected
