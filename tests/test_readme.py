"""README's commands and its program, extracted and run as typed, in a folder with nothing else."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

pytest.importorskip("av")
pytest.importorskip("openai")
ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
VISIBLE = ("LICENSE", "Makefile", "README.md", "constraints.txt", "pyproject.toml")
VISIBLE += ("eval", "hermes", "inference", "models", "scripts", "setup.py", "tests")
VISIBLE += ("efficiency", "hermes_cli", "reproduction", "video", "video_qa")
ELSEWHERE = {"--model llava_ov_7b": "weights", "eval_open_ended.py": "judge"}
"""Commands that cannot run here, and the word by which the text before them must say why."""
DATA, RUN, PAGE = "-m video_qa.nanostream", "run_infer.py --model nano", "inspect_memory.py"
PRINTED = {
    DATA: "nanostream_test.json",
    RUN: "Metrics saved to: results/nano/nanostream/fps1.0-kv64/metrics.json",
    "eval_multiple_choice.py": "over 2 videos",
    "compare.py": "Report: results/nano/nanostream/comparison-fps1/report.html",
    PAGE: "Memory page: results/inspect/memory.html",
    "reproduce.py": "12 runs, about ",
    "replay_golden.py": "ok   qwen_lazy_kv40_seed0.npz: 6 steps, kept exact",
}
"""What a command's output must contain."""
INSTALL = ("> torch.txt", "pip install -c torch.txt", "torch.cuda.is_available()")


def commands() -> list[str]:
    """Indented lines outside of fences that call something, continued lines joined."""
    text = re.sub(r"```.*?```", "", README, flags=re.S).replace("\\\n", " ")
    return re.findall(r"^ {4}((?:python|make|bash) .*)$", text, re.M)


def command(part: str) -> str:
    found = [line for line in commands() if part in line]
    assert len(found) == 1, f"{part}: {found}"
    return found[0]


def shell(line: str, folder: Path) -> str:
    """Run a line with this Python as `python`; returns what it prints."""
    done = subprocess.run(
        f'python() {{ {shlex.quote(sys.executable)} "$@"; }}\n{line}',
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """The repository without data and results, and the README's two videos."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in VISIBLE:
        (folder / name).symlink_to(ROOT / name)
    shell(command(DATA), folder)
    return folder


def test_every_command_is_tested_or_says_what_it_needs():
    known = (*PRINTED, *INSTALL, *ELSEWHERE, "make ")
    assert not [line for line in commands() if not any(part in line for part in known)]
    for part, need in ELSEWHERE.items():
        around = README[: README.index(command(part)[:40])][-300:] + README.split(part)[1][:300]
        assert need in around, f"{part}: the text around it does not name {need}"


@pytest.mark.parametrize("part", ELSEWHERE)
def test_commands_that_run_elsewhere_have_their_options(part):
    line = command(part)
    help_text = shell(f"{' '.join(line.split()[:2])} --help", ROOT)
    options = re.findall(r"--\w+", line)
    assert options and not [option for option in options if option not in help_text]


def test_the_makefile_has_the_targets(checkout):
    for line in commands():
        if line.startswith("make "):
            shell(line.replace("make ", "make -n ", 1).split("#")[0], checkout)


def test_the_program_watches_and_answers(checkout):
    (program,) = re.findall(r"```python\n(.*?)```", README, re.S)
    (checkout / "program.py").write_text(program)
    *chunks, spoken, chosen = shell("python program.py", checkout).splitlines()
    assert [line.split()[0] for line in chunks] == ["16", "32", "48", "60"]
    assert len({line.split()[2] for line in chunks}) == 1, "the memory does not grow"
    shapes = ("circle", "square", "triangle", "star", "cross", "ring", "heart", "diamond")
    assert spoken.strip() in shapes
    assert chosen in ("A: circle", "B: star", "C: heart")


@pytest.fixture(scope="module")
def ran(checkout) -> str:
    """What the runner prints; later commands read its results."""
    return shell(command(RUN), checkout)


@pytest.mark.parametrize("part", PRINTED)
def test_commands_run_as_typed(checkout, ran, part):
    assert PRINTED[part] in (ran if part == RUN else shell(command(part), checkout))


def test_installation_leaves_torch_alone(checkout):
    """Offline: everything that is needed is here, only the package itself would be installed."""
    import torch

    make_constraint, install, look = (command(part) for part in INSTALL)
    shell(make_constraint, checkout)
    # Wheels of CUDA from PyPI call themselves 2.13.0 and report torch.__version__ 2.13.0+cu130.
    assert (checkout / "torch.txt").read_text() == f"torch=={version('torch')}\n"
    offline = f"{install} --no-index --no-build-isolation --dry-run --quiet --report report.json"
    shell(offline, checkout)
    report = json.loads((checkout / "report.json").read_text())
    assert [found["metadata"]["name"] for found in report["install"]] == ["hermes-stream"]
    (checkout / "torch.txt").write_text("torch==2.10.0\n")
    with pytest.raises(AssertionError, match=r"torch"):
        shell(offline, checkout)
    assert torch.__version__ in shell(look, checkout)
