"""From run folders to comparison.csv, comparison.json and a page that opens in a browser."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from compared_runs import finished_comparison, videos, write_run

from video_qa.comparison.finished import ComparisonError, check_same_protocol, read_run
from video_qa.comparison.pages.report import write_report
from video_qa.comparison.pages.svg import colour, marker
from video_qa.runner.shards import question_keys

POLICIES = ("two_speed", "recent", "last_frames:num_frames=4", "<hermes>")
SIZES = (16, 32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished comparison of invented runs."""
    root = tmp_path_factory.mktemp("comparison")
    refused = {("none", 16): "cannot serve <this> family"}
    runs = finished_comparison(root, POLICIES, SIZES, refused=refused)
    write_report(root, runs, videos(12))
    return root


def test_the_table_has_a_row_per_run_and_question(folder: Path) -> None:
    table = pd.read_csv(folder / "comparison.csv")
    counts = table.groupby(["policy", "kv_size"]).size()
    assert len(counts) == len(POLICIES) * len(SIZES) and set(counts) == {60}
    numbers = json.loads((folder / "comparison.json").read_text())
    for run in numbers["runs"]:
        own = table[(table.policy == run["policy"]) & (table.kv_size == run["kv_size"])]
        shown = run["groups"]["all questions"]["accuracy_percent"]
        assert shown == pytest.approx(own[own.task != "unanswerable"].qa_acc.mean())
        assert run["cost"]["peak_memory_bytes"] == 1000 * run["kv_size"]
    assert numbers["protocol"]["engine.prompts_hash"] == "p"
    baselines = {pair["baseline"] for pair in numbers["paired"]}
    assert baselines == {"recent", "last_frames:num_frames=4"}


class _Page(HTMLParser):
    """All attributes and texts of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.texts: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        names = ("src", "href", "xlink:href", "action", "data", "srcset", "poster")
        self.links += [value or "" for name, value in attrs if name in names]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_page_needs_nothing_but_itself(folder: Path) -> None:
    text = (folder / "report.html").read_text()
    parsed = _Page()
    parsed.feed(text)
    assert parsed.links and all(link.startswith(("#", "data:")) for link in parsed.links)
    assert not {"script", "link", "iframe", "object"} & set(parsed.tags)
    assert "@import" not in text and not re.search(r"url\((?!['\"]?#)", text)
    outside = set(re.findall(r"https?://[^\"'<> ]+", text))
    assert all(url.startswith("http://www.w3.org/") for url in outside)  # names of namespaces
    shown = " ".join(parsed.texts)
    for policy in POLICIES:
        assert policy in shown
    assert "cannot serve <this> family" in shown
    assert "<hermes>" not in text and "<this>" not in text
    groups = json.loads((folder / "comparison.json").read_text())["groups"]
    panels = (2 + 2) * len(groups) + 2 * len(POLICIES) * len(SIZES)  # accuracy, budget, 2 baselines
    assert parsed.tags.count("svg") == panels + 2 + 2 * len(POLICIES)  # trade, scale, 2 legends


def test_ids_of_figures_do_not_meet(folder: Path) -> None:
    text = (folder / "report.html").read_text()
    used = set(re.findall(r"url\(#([^)]+)\)", text)) | set(re.findall(r'href="#([^"]+)"', text))
    repeated = {name for name in used if text.count(f'id="{name}"') != 1}
    assert not repeated


def test_the_same_numbers_give_the_same_page(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "comparison.json", tmp_path)
    keys = question_keys(videos(12))
    runs = [
        read_run(folder / f"{number}-{kv_size}", keys)
        for number in range(len(POLICIES))
        for kv_size in SIZES
    ]
    page = write_report(tmp_path, runs, videos(12))
    assert page.read_bytes() == (folder / "report.html").read_bytes()


def test_no_two_of_many_policies_look_alike() -> None:
    assert len({(colour(index), marker(index)) for index in range(30)}) == 30


def test_the_tables_can_be_pasted(folder: Path) -> None:
    lines = (folder / "comparison.md").read_text().splitlines()
    tables = [line for line in lines if line.startswith("| ---")]
    assert len(tables) == len(SIZES) + 1
    numbers = json.loads((folder / "comparison.json").read_text())
    run = next(run for run in numbers["runs"] if run["kv_size"] == min(SIZES))
    row = next(line for line in lines if line.startswith(f"| {run['policy']} |"))
    assert row.count("|") == len(numbers["groups"]) + 2
    best = f"{run['groups']['all questions']['accuracy_percent']:.1f}"
    assert best in row.split("|")[-2]


@pytest.mark.parametrize(
    ("setting", "value"),
    [("model", "other"), ("sample_fps", 2.0), ("annotation_sha256", "b"), ("max_new_tokens", 3)],
)
def test_runs_of_different_protocols_are_refused(
    tmp_path: Path, setting: str, value: object
) -> None:
    paths = [
        write_run(tmp_path / "one", "recent", 16, 2),
        write_run(tmp_path / "two", "hermes", 16, 2, **{setting: value}),
    ]
    runs = [read_run(path, question_keys(videos(2))) for path in paths]
    with pytest.raises(ComparisonError) as refusal:
        check_same_protocol(runs)
    said = str(refusal.value)
    assert f"  {setting}: " in said and f"{value!r} in {paths[1]}" in said
    assert "policy" not in said.splitlines()[1]


def test_a_folder_that_is_no_run_or_lacks_answers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ComparisonError, match="holds no run of this program"):
        read_run(tmp_path, [])
    path = write_run(tmp_path / "short", "recent", 16, 2)
    config = (path / "config.json").read_text()
    for bad, named in (
        ("[]", "JSON object"),
        (config.replace('"kv_size": 16', '"kv_size": "16"'), "field 'kv_size'"),
    ):
        (path / "config.json").write_text(bad)
        with pytest.raises(ComparisonError, match=f"no run of this program.*{named}"):
            read_run(path, [])
    (path / "config.json").write_text(config)
    with pytest.raises(ComparisonError, match="lacks 5 of 15 questions; finish that run first"):
        read_run(path, question_keys(videos(3)))
