"""The card of hermes-nano lists the wordings that the trainer draws, as they are now."""

from __future__ import annotations

import random
import re

from nano_training import texts, wordings
from video_qa.nanostream import questions
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
