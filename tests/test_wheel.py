"""The wheel, installed alone into an empty folder and used from elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import hermes

pytest.importorskip("setuptools", minversion="77")  # what pyproject.toml asks for
ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("eval", "hermes", "hermes_cli", "inference", "interchange", "video", "video_qa")
SOURCES = (*PACKAGES, "models/hermes-nano", "pyproject.toml", "setup.py", "README.md", "LICENSE")
NANO = {path.name for path in (ROOT / "models" / "hermes-nano").iterdir()}
SESSION = """
import numpy as np
import hermes, inference, video, video_qa, eval, hermes_cli
for package in (hermes, inference, video, video_qa, eval, hermes_cli):
    assert package.__file__.startswith(INSTALLED), package.__file__
stream = hermes.open("nano", kv_size=64, sample_fps=1, device="cpu")
assert stream.watch("talk.npy") == 20
assert stream.watch(np.load("talk.npy")[:3]) == 3
answer = stream.ask("Which shape appeared first?", options=["circle", "star"])
print("answered", answer.letter, answer.option, stream.num_frames)
"""


def _run(*command: str, cwd: Path, path: Path | None = None) -> str:
    """In isolation from the checkout: only `path` is added to what the environment holds."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    done = subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built offline from a copy, so that nothing is written into the checkout."""
    source, out = (tmp_path_factory.mktemp(name) for name in ("source", "wheel"))
    for name in SOURCES:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, source / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, source / name)
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--wheel-dir")
    _run("-m", "pip", "wheel", *options, str(out), ".", cwd=source)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    options = ("--no-deps", "--no-index", "--quiet", "--target", str(folder))
    _run("-m", "pip", "install", *options, str(wheel), cwd=folder)
    return folder


def test_the_wheel_holds_the_packages_and_the_model_and_nothing_else(wheel):
    assert f"-{hermes.__version__}-" in wheel.name
    names = set(zipfile.ZipFile(wheel).namelist())
    info = {name for name in names if ".dist-info/" in name}
    assert {name.split("/")[0] for name in names - info} == set(PACKAGES)
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    assert {Path(name).name for name in names if "/hermes-nano/" in name} == NANO
    code = {
        p.relative_to(ROOT).as_posix() for name in PACKAGES for p in (ROOT / name).rglob("*.py")
    }
    assert {name for name in names if name.endswith(".py")} == code


def test_the_metadata_names_version_scripts_and_classifiers(wheel):
    archive = zipfile.ZipFile(wheel)
    read = lambda end: archive.read(next(n for n in archive.namelist() if n.endswith(end))).decode()  # noqa: E731
    metadata = Parser().parsestr(read(".dist-info/METADATA"))
    assert metadata["Version"] == hermes.__version__
    assert metadata.get_all("Project-URL") and "Typing :: Typed" in metadata.get_all("Classifier")
    assert "hermes = hermes_cli.main:main" in read("entry_points.txt")


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory) -> Path:
    import numpy as np

    folder = tmp_path_factory.mktemp("elsewhere")
    frames = np.random.default_rng(0).integers(0, 256, (20, 48, 48, 3), dtype=np.uint8)
    np.save(folder / "talk.npy", frames)
    return folder


@pytest.mark.slow
def test_a_stream_is_opened_watches_and_answers(installed, elsewhere):
    program = SESSION.replace("INSTALLED", repr(str(installed)))
    (elsewhere / "session.py").write_text(program)
    assert _run("session.py", cwd=elsewhere, path=installed).startswith("answered ")


@pytest.mark.slow
def test_the_command_runs_a_benchmark(installed, elsewhere):
    """One worker and the evaluator, each found beside the command."""
    question = {
        "question": "Which?",
        "choices": ["circle", "star"],
        "answer": "star",
        "end_time": 9,
    }
    video = {"video_id": "talk", "video_path": "talk.npy", "conversations": [question]}
    (elsewhere / "asked.json").write_text(json.dumps([video]))
    script = str(installed / "bin" / "hermes")
    options = ("--model", "nano", "--dataset", "nanostream", "--anno_path", "asked.json")
    options += ("--kv_size", "64", "--sample_fps", "1", "--devices", "cpu", "--save_dir", "done")
    said = _run(script, "run", *options, cwd=elsewhere, path=installed)
    assert "1 questions answered; results in done" in said
    assert (elsewhere / "done" / "metrics.json").is_file()
