"""The card of hermes-nano lists the wordings that the trainer draws, as they are now."""

from __future__ import annotations

import json
import random
import re

from nano_training import accuracy, texts, wordings
from video_qa.nanostream import questions
from video_qa.nanostream.degrees import DEGREES
from video_qa.nanostream.draft import Draft
from video_qa.nanostream.facts import follow
from video_qa.nanostream.world import make_world

CARD = wordings.CARD.read_text(encoding="utf-8")


def _plain(text: str) -> str:
    """A question with its shapes, colours and places taken out, independently of the script."""
    for words in wordings.CLASSES.values():
        for word in words:
            text = re.sub(rf"(?<![\w-]){word}(?![\w-])", "_", text)
    return text


def test_the_section_is_up_to_date():
    assert wordings.replace_section(CARD) == CARD, "run python -m nano_training.wordings"


def test_every_question_of_other_streams_is_listed():
    listed = {re.sub(r"<\w+>", "_", text) for text in re.findall(r"`([^`]*\?)`", CARD)}
    rng, asked = random.Random(1), set()
    for seed in range(100, 106):
        for facts in follow(make_world(seed, 100)):
            drafts = (task(facts, rng) for task in questions.TASKS.values())
            asked |= {_plain(draft.question) for draft in drafts if draft}
    assert len(asked) > 12 and asked <= listed


def test_prompts_and_guidance_are_listed_as_they_are():
    for line in texts.choice_prompt("<question>", ["<option>", "<option>"]).splitlines():
        assert line in CARD
    assert texts.LOCAL_GUIDANCE in CARD and texts.GLOBAL_GUIDANCE in CARD
    facts = next(iter(follow(make_world(3, 20))))
    for seed in range(8):
        prompt, _ = texts.guidance(facts, random.Random(seed), ("<question>", "<answer>"))
        assert prompt.strip("\n").split(": ")[0] in CARD


def test_another_wording_makes_the_card_stale(monkeypatch):
    other = Draft("How many things are there?", "1", ("2", "3"))
    monkeypatch.setitem(questions.TASKS, "now_count", lambda facts, rng: other)
    assert wordings.replace_section(CARD) != CARD


def test_goals_that_are_missed_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(accuracy, "RESULTS", tmp_path)
    for degree in DEGREES:
        for dataset, (name, _) in accuracy.DATASETS.items():
            right = 86.0 if degree in ("rich", "busy") else 99.0
            found = {"n": 9, "accuracy_percent": right, "interval95_percent": [80.0, 100.0]}
            now = found | {"accuracy_percent": 99.0}
            groups = {"perception now": now, "recent past": found, "far past": found}
            folder = accuracy.folder(degree, dataset)
            folder.mkdir(parents=True)
            numbers = {"categories": groups, "tasks": {"now_colour": now}}
            (folder / "metrics.json").write_text(json.dumps({name: numbers}))
    text = accuracy.section(9)
    assert text.count("goal 90") == 4 and text.count("busy, with options: 86.0, goal 90") == 2
    assert "rich, in words: 8" not in text and "| now_colour | 99.0 (80-100) |" in text
    assert accuracy.replace_section(CARD, text).count(accuracy.TITLE) == 1
