"""`hermes` and its subcommands: help at once, the same programs behind them, errors that say it."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import hermes
from hermes.policy_text import POLICY_NAMES
from hermes_cli.main import COMMANDS, main
from inference.checkpoints.models import MODELS
from video_qa.questions.benchmarks import DATASETS

ROOT = Path(__file__).resolve().parent.parent
WITHOUT_TORCH = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "transformers"}:
            raise ImportError(f"{name} was imported")

sys.meta_path.insert(0, Refuse())
from hermes_cli.main import main
for line in ARGUMENTS:
    print(f"<{line}>")
    try:
        main(line.split())
    except SystemExit as end:
        assert not end.code, end.code
    print("</>")
"""
LISTED = {
    "--help": (*MODELS, *POLICY_NAMES, *hermes.PROFILES, *DATASETS, *COMMANDS),
    "run --help": (*MODELS, *POLICY_NAMES, *hermes.PROFILES, *DATASETS, "usage: hermes run"),
    "prepare --help": ("streamingbench", "trace", "usage: hermes prepare", "--skip_malformed"),
    "compare --help": (*MODELS, *POLICY_NAMES, *hermes.PROFILES, *DATASETS),
    "inspect --help": (*MODELS, *POLICY_NAMES, *hermes.PROFILES, "usage: hermes inspect"),
    "eval --help": ("general", "ovo_forward", "videomme", "egoschema", "words", "open_ended"),
    "eval general --help": ("usage: hermes eval general", "--results_path"),
    "eval open_ended --help": ("usage: hermes eval open_ended", "--judge_model"),
    "demo --help": ("usage: hermes demo", "--num_streams"),
    "--version": (hermes.__version__,),
}


@pytest.fixture(scope="module")
def shown() -> dict[str, str]:
    """What every help prints where torch, and transformers cannot be imported."""
    pytest.importorskip("openai")
    program = WITHOUT_TORCH.replace("ARGUMENTS", repr(list(LISTED)))
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    pieces = done.stdout.split("</>\n")[:-1]
    return dict(zip(LISTED, pieces, strict=True))


@pytest.mark.parametrize("line", LISTED)
def test_help_comes_without_torch_and_lists_what_there_is(shown, line):
    words = shown[line].replace(",", " ").replace(";", " ").replace("{", " ").replace("}", " ")
    missing = [
        name for name in LISTED[line] if name not in words.split() and name not in shown[line]
    ]
    assert not missing


def test_the_names_known_without_torch_are_the_registrys():
    assert tuple(hermes.POLICIES) == POLICY_NAMES


@pytest.mark.parametrize("name", COMMANDS)
def test_a_subcommand_is_the_program_of_the_release(name, monkeypatch):
    if name == "prepare":  # reads what others wrote
        pytest.importorskip("pydantic")
    called = []
    module = import_module(COMMANDS[name].module)
    monkeypatch.setattr(module, "main", lambda argv, prog: called.append((argv, prog)) or 7)
    assert main([name, "--a", "b"]) == 7
    assert called == [(["--a", "b"], f"hermes {name}")]


@pytest.mark.parametrize(
    ("name", "prog"), [("general", "hermes eval general"), ("open_ended", "hermes eval open_ended")]
)
def test_evaluators_are_told_apart(capsys, name, prog):
    with pytest.raises(SystemExit) as ended:
        main(["eval", name, "--wrong"])
    assert ended.value.code == 2
    assert f"{prog}: error:" in capsys.readouterr().err


@pytest.mark.parametrize("line", [[], ["walk"], ["--wrong"]])
def test_what_is_no_command(line, capsys):
    assert main(line) == 2
    out, err = capsys.readouterr()
    assert all(name in out + err for name in COMMANDS)


def test_it_starts_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "hermes_cli", "--version"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"hermes {hermes.__version__}\n"
