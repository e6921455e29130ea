"""The demo with its programs inside this process: it ends with pages that are there."""

from __future__ import annotations

from pathlib import Path

import pytest
from runner_helpers import workers_inside

from hermes_cli import demo
from video_qa import compare, inspect_memory
from video_qa.lanes import worker
from video_qa.nanostream.__main__ import main as write_nanostream

PROGRAMS = {
    "video_qa.nanostream": write_nanostream,
    "video_qa/compare.py": compare.main,
    "video_qa/inspect_memory.py": inspect_memory.main,
}


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*arguments: str) -> None:
        words = [word for word in arguments if word != "-m"]
        assert not PROGRAMS[words[0]](words[1:])

    monkeypatch.setattr(demo, "_run", run)
    workers_inside(monkeypatch, worker.main)


@pytest.mark.usefixtures("inside")
def test_it_ends_with_the_paths_of_its_pages(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    options = ["--device=cpu", "--num_streams=1", "--minutes=0.5"]
    options += [f"--data={tmp_path / 'data'}", f"--results={tmp_path / 'results'}"]
    assert demo.main(options) == 0
    last = capfd.readouterr().out.splitlines()[-3:]
    pages = [Path(line.split(": ", 1)[1]) for line in last]
    assert [page.name for page in pages] == ["report.html", "report.html", "memory.html"]
    for page, told in zip(pages, ("nano", "nano", "hermes at 64"), strict=True):
        text = page.read_text()
        assert "data:image/jpeg" in text and 'class="verdict"' in text and told in text
