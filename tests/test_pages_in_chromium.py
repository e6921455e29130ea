"""The pages as a browser shows them: on a phone and on a desk, on light and on dark paper."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from browser import Browser, chromium
from compared_runs import finished_comparison, videos

from video_qa.comparison.pages.memory_page import Thumbnails, write_inspection
from video_qa.comparison.pages.report import write_report
from video_qa.lanes.retention import RetentionLog, Snapshot

CHECKS = (Path(__file__).parent / "page_checks.js").read_text()
POLICIES = (
    "two_speed:attention_weight=1:keyframe_share=0:recent_share=0.5:floor_share=0.5",
    *("recent", "last_frames:num_frames=4"),
)
NUM_FRAMES, NUM_LAYERS, TOKENS, STEP_SECONDS = 30, 3, 8, 1000


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    runs = finished_comparison(
        folder, POLICIES, (600, 6000), num_videos=9, refused={("none", 600): "too long"}
    )
    asked = videos(9)
    (folder / "videos").mkdir()
    for video in asked[:-1]:
        np.save(folder / f"{video.video_path}.npy", np.zeros((12, 30, 40, 3), np.uint8))
        object.__setattr__(video, "video_path", f"{video.video_path}.npy")
    return write_report(folder, runs, asked, folder)


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A memory of three layers and a stream of thirty frames, looked at six times."""
    generator, log, thumbnails = np.random.default_rng(0), RetentionLog(), Thumbnails()
    for last in range(5, NUM_FRAMES + 1, 5):
        counts = generator.integers(0, TOKENS + 1, (NUM_LAYERS, last), np.int32)
        log._keep(
            Snapshot(
                STEP_SECONDS * (last - 1.0), counts, np.array([0, 0, last], np.int32), last // 10
            )
        )
    log.step_frames = list(range(NUM_FRAMES))
    log.step_seconds = [float(STEP_SECONDS * frame) for frame in log.step_frames]
    log.tokens_per_step = TOKENS
    thumbnails.add(generator.integers(0, 255, (NUM_FRAMES, 12, 16, 3), np.uint8), 1)
    return write_inspection(tmp_path_factory.mktemp("memory"), "hermes: talk.mp4", log, thumbnails)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("page", ["report", "memory"])
def test_everything_can_be_read(
    browser: Browser, request: pytest.FixtureRequest, page: str, width: int, dark: bool
) -> None:
    browser.open(request.getfixturevalue(page), width, dark)
    browser.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true })")
    assert browser.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") is dark
    paper = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(15, 19, 23)" if dark else "rgb(255, 255, 255)")
    found = browser.evaluate(CHECKS.replace("WIDTH", str(width)))
    assert found["width"] == width, "the page can be scrolled sideways"
    assert found["texts"] > 60 and found["drawnTexts"] > 10
    for fault in ("small", "pale", "outside", "clipped"):
        assert not found[fault], f"{fault}: {found[fault][:8]}"
    assert not browser.complaints


def test_panels_stand_in_a_grid(browser: Browser, report: Path) -> None:
    columns = """[...document.querySelectorAll('.grid')].map((grid) =>
        getComputedStyle(grid).gridTemplateColumns.split(' ').length)"""
    in_one = "document.querySelectorAll('.grid > figure svg').length"
    browser.open(report, 390)
    assert set(browser.evaluate(columns)) == {1}
    browser.open(report, 1280)
    assert set(browser.evaluate(columns)) == {2, 3}  # maps: one memory per line
    panels = browser.evaluate("document.querySelectorAll('.grid > figure').length")
    assert panels == browser.evaluate(in_one) > 20


def test_a_fold_opens_upon_the_questions(browser: Browser, report: Path) -> None:
    browser.open(report, 390)
    seen = "[...document.querySelectorAll('.card')].filter((c) => c.checkVisibility()).length"
    assert browser.evaluate(seen) == 0
    browser.evaluate("document.querySelector('details summary').click()")
    assert browser.evaluate(seen) > 0
    assert browser.evaluate("document.querySelector('.card img').naturalWidth") > 100


def choose(browser: Browser, name: str, value: int) -> None:
    browser.evaluate(
        f"{{ const chosen = document.getElementById('{name}'); chosen.value = {value};"
        " chosen.dispatchEvent(new Event('input')) }"
    )


@pytest.mark.parametrize("layer", [None, 0, 2])
@pytest.mark.parametrize("moment", [0, 3, 5])
def test_the_slider_and_the_layer_show_what_was_held(
    browser: Browser, memory: Path, moment: int, layer: int | None
) -> None:
    browser.open(memory, 390)
    choose(browser, "time", moment)
    choose(browser, "layer", 0 if layer is None else layer + 1)
    table = pd.read_csv(memory.with_name("retention.csv"))
    seconds = sorted(table.watched_until_seconds.unique())[moment]
    held = table[table.watched_until_seconds == seconds]
    held = held if layer is None else held[held.layer == layer]
    num_layers = NUM_LAYERS if layer is None else 1
    tokens = held[held.frame >= 0].groupby("frame").tokens.sum() / num_layers
    seen = range(int(seconds) // STEP_SECONDS + 1)
    expected = [int(np.ceil(100 * tokens.get(frame, 0) / TOKENS - 1e-9)) for frame in seen]
    cards = "[...document.querySelectorAll('#frames > div')]"
    shown = browser.evaluate(
        f"{cards}.filter((card) => card.querySelector('img').checkVisibility("
        "{visibilityProperty: true})).map((card) => parseInt(card.querySelector('b').textContent))"
    )
    assert shown == expected
    heights = browser.evaluate(
        "[...document.querySelectorAll('#timeline span')].map((bar) => parseInt(bar.style.height))"
    )
    assert heights == expected + [0] * (NUM_FRAMES - len(expected))
    assert browser.evaluate("document.getElementById('seconds').textContent") == f"{seconds:g} s"
    said = browser.evaluate("document.getElementById('summary').textContent")
    assert f"{round(tokens.sum(), 1):g} tokens of frames" in said
    summaries = held[held.frame < 0].tokens.sum() / num_layers
    assert ("of summaries" in said) == (summaries > 0)
    assert f"{round(summaries, 1):g} of summaries" in said or summaries == 0
    assert not browser.complaints


def test_the_page_shows_the_end_before_its_script_runs(browser: Browser, memory: Path) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(memory, 390)
        browser.wait_for("document.querySelectorAll('#frames b').length == 30")
        without = browser.evaluate("document.querySelector('#frames').innerText")
        hint = browser.evaluate("document.querySelector('noscript').innerText")
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)
    browser.open(memory, 390)
    assert browser.evaluate("document.querySelector('#frames').innerText") == without
    assert "Without scripts" in hint
