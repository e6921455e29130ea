"""Examples in docs/ run as they stand, commands have their options, names and links exist."""

from __future__ import annotations

import json
import re
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from runner_helpers import table, write_array
from tiny import contents, open_stream, random_frames, watch

import hermes.policies
from hermes.policies import POLICIES
from hermes.policy_parts.guidance import QUESTIONS
from hermes.policy_text import POLICY_NAMES, memory_fields
from inference.checkpoints.models import MODELS
from scripts.draw_layers import draw
from video_qa.hermes_vqa import main as worker_main
from video_qa.launchers import local
from video_qa.questions.benchmarks import DATASETS, Benchmark
from video_qa.run_infer import main as run_infer
from video_qa.runner.worker_pool import WorkerTask
from video_qa.settings.pixel_presets import PRESETS

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
NEW_PAGES = [DOCS / f"{name}.md" for name in ("reproducing", "interchange")]
EXTENDING = (DOCS / "extending.md").read_text()
MOST_LINES = 150
FOLDERS = "docs|scripts|tests|hermes|inference|video_qa|reproduction"


def blocks(language: str) -> list[str]:
    """Fenced blocks of docs/extending.md."""
    return re.findall(rf"```{language}\n(.*?)```", EXTENDING, re.S)


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= MOST_LINES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_paths_lead_somewhere(page):
    text = page.read_text()
    linked = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    named = re.findall(rf"`((?:{FOLDERS})/[\w./-]+)`", text) if page.name != "log.md" else []
    missing = [link for link in linked if not (page.parent / link).exists()]
    missing += [path for path in named if not (ROOT / path).exists()]
    assert not missing


def test_readme_names_what_there_is():
    text = (ROOT / "README.md").read_text()
    policies = text.split("## Memories")[1].split("## Verified")[0]
    assert not [name for name in POLICY_NAMES if f"`{name}`" not in policies]
    chosen = text.split("## Models and data sets")[1].split("## Running")[0]
    assert not [name for name in DATASETS if f"`{name}`" not in chosen]
    starts = {re.sub(r"_(?:[\d.]+b)$", "", name) for name in MODELS}
    assert not [name for name in starts if f"`{name}" not in chosen]


def test_the_policy_of_the_docs_is_a_policy(base, monkeypatch):
    code = blocks("python")[0]
    names: dict[str, object] = {}
    exec(compile(code, "both_ends.py", "exec"), names)
    monkeypatch.setitem(POLICIES, "both_ends", names["BothEnds"])  # type: ignore[arg-type]
    assert "one line in `POLICIES`" in EXTENDING and hermes.policies.POLICIES is POLICIES
    engine = open_stream(base, kv_size=12, policy="both_ends")
    watch(engine, random_frames(24))
    memory = engine.memory
    memory.check_integrity()
    assert memory.num_visual == 12
    frames = contents(engine)["frame"][:, memory.num_prefix :]
    assert (frames[:, 0] == 0).all() and (frames[:, 5] <= 3).all()
    assert (frames[:, -1] >= 22).all() and (frames[:, 6] >= 20).all()


def test_the_streams_of_the_docs_answer(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / "concepts.md").read_text(), re.S)
    exec(compile(code, "streams.py", "exec"), {"videos": [random_frames(20), random_frames(9)]})
    answers = eval(capsys.readouterr().out)
    assert len(answers) == 2 and all(isinstance(answer, str) for answer in answers)


def _in_this_process(tasks: list[WorkerTask], *_: object) -> list[str]:
    """Workers that know what the test has registered."""
    for task in tasks:
        worker_main([part for part in task.command[2:] if "runner_pid" not in part])
    return []


def test_the_data_set_of_the_docs_runs(tmp_path, monkeypatch):
    (content,) = blocks("json")
    entry = blocks("python")[1]
    monkeypatch.setitem(DATASETS, "talks", eval(entry.split("=", 1)[1], {"Benchmark": Benchmark}))
    assert entry.strip().startswith('DATASETS["talks"] = ')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HERMES_FAKE_FOLDER", str(tmp_path))
    path = Path(DATASETS["talks"].annotation_file)
    path.parent.mkdir(parents=True)
    path.write_text(content)
    write_array(path.parent / "videos" / "talks" / "talk.npy", 12)
    (tmp_path / "model").mkdir()
    monkeypatch.setattr(local, "run_workers", _in_this_process)
    given = ["--model=./model", "--engine=tests.fake_engine:load_model", "--dataset=talks"]
    given += ["--kv_size=64", "--device=cpu", f"--video_root={path.parent / 'videos'}"]
    assert run_infer(given) == 0
    rows = table(next((tmp_path / "results").rglob("results.csv")))
    assert list(rows["correct_choice"]) == ["B", "A"] and rows["task"][0] == "colour"
    stored = next((tmp_path / "results").rglob("predictions.jsonl")).read_text().splitlines()
    assert [json.loads(line)["num_frames"] for line in stored] == [8, 12]


def commands(page: Path) -> list[str]:
    """Indented lines that call a program of ours, continued lines joined."""
    text = page.read_text().replace("\\\n", " ")
    return re.findall(r"^ {4}python ((?:-m \w+|[\w/]+\.py).*)$", text, re.M)


PARSERS = {
    "scripts/reproduce.py": lambda: import_module("reproduction.command")._parser(),
    "-m interchange": lambda: import_module("interchange.__main__")._parser(),
}


@pytest.mark.parametrize("page", NEW_PAGES, ids=lambda page: page.name)
def test_commands_of_the_docs_are_understood(page):
    found = [line for line in commands(page) if not line.startswith("-m venv")]
    assert found
    for line in found:
        program = next(name for name in PARSERS if line.startswith(name))
        PARSERS[program]().parse_args(line.removeprefix(program).split())


def test_settings_of_the_docs_exist():
    text = (DOCS / "reproducing.md").read_text().split("| ablation | setting |")[1]
    names = set(re.findall(r"`(\w+)(?:=[^`]*)?`", text)) - {"weighted", "none", "eager"}
    names -= set(QUESTIONS)
    assert names and names <= set(memory_fields())
    assert all(f"`{name}`" in text for name in QUESTIONS if name not in ("default", "what_happens"))
    assert "`fluxmem`" in (DOCS / "faq.md").read_text() and "fluxmem" in PRESETS


def test_the_figure_is_what_its_script_draws_and_knows_the_dark():
    text = (DOCS / "memory_layers.svg").read_text()
    assert text == draw()
    light, dark = text.split("@media (prefers-color-scheme: dark)")
    classes = set(re.findall(r"\.([\w-]+) \{", light.split("<style>")[1]))
    assert classes - {"small", "title"} <= set(re.findall(r"\.([\w-]+) \{", dark))


def test_the_nano_table_of_the_docs_is_the_stored_one():
    stored = json.loads((ROOT / "reproduction" / "nano.json").read_text())["tables"]["nano"]
    shown = re.findall(r"^\| nano, .*$", (DOCS / "tables" / "nano.md").read_text(), re.M)
    numbers = [float(line.split("|")[3]) for line in shown]
    values = [value for row in stored["rows"] for value in row["values"]]
    assert np.allclose(numbers, values, atol=0.05) and len(numbers) == len(values)
