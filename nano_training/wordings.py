"""The card's list of what the miniature was trained to read, taken from the trainer itself.

python -m nano_training.wordings    # writes it into models/hermes-nano/README.md
"""

import random
import re
from collections import defaultdict
from pathlib import Path

from nano_training import texts
from video_qa.nanostream.facts import follow
from video_qa.nanostream.questions import TASKS, options_of
from video_qa.nanostream.vocabulary import COLOURS, PLACES, SHAPES
from video_qa.nanostream.world import make_world

CARD = Path(__file__).resolve().parents[1] / "models" / "hermes-nano" / "README.md"
TITLE = "## Wordings"
CLASSES = {"shape": SHAPES, "colour": COLOURS, "place": PLACES}
NUM_STREAMS, SECONDS = 12, 64
GUIDANCE = (
    (texts.LOCAL_GUIDANCE, "`<colour> <shape> <place>` of what is visible"),
    (texts.GLOBAL_GUIDANCE, "`<colour> <shape>` in order of appearance"),
)
INTRODUCTION = """\
What it was trained to read; another wording of the same question was never seen in training. Each
stands after a line break. Written by `python -m nano_training.wordings`.
"""


def drawn() -> dict[str, tuple[set[str], set[str], set[int]]]:
    """Task -> templates of its questions, its answers, its numbers of options."""
    found: dict = defaultdict(lambda: (set(), set(), set()))
    rng = random.Random(0)
    for seed in range(NUM_STREAMS):
        for facts in follow(make_world(seed, SECONDS)):
            for name, task in TASKS.items():
                if draft := task(facts, rng):
                    questions, answers, numbers = found[name]
                    questions.add(_template(draft.question))
                    answers.add(_template(draft.answer))
                    numbers.add(len(options_of(draft, rng)))
    return {name: found[name] for name in TASKS}


def _template(text: str) -> str:
    for name, words in CLASSES.items():
        text = re.sub(rf"\b({'|'.join(words)})(?![\w-])", f"<{name}>", text)
    return text


def section() -> str:
    """The section in Markdown."""
    rows = ["| task | question | answer | options |", "|---|---|---|---|"]
    for name, (questions, answers, numbers) in drawn().items():
        cells = (", ".join(f"`{text}`" for text in sorted(part)) for part in (questions, answers))
        rows.append(f"| {name} | {' | '.join(cells)} | {', '.join(map(str, sorted(numbers)))} |")
    classes = [f"`<{name}>`: {', '.join(words)}." for name, words in CLASSES.items()]
    return "\n".join(
        (TITLE, "", INTRODUCTION, *rows, "", *(f"* {line}" for line in classes), "", *_frames())
    )


def _frames() -> list[str]:
    """The text around a question, line breaks shown as they are."""
    with_options = texts.choice_prompt("<question>", ["<option>", "<option>"])
    binding, _ = texts.binding(random.Random(0))
    return [
        "With options, up to four, answered by a letter, `B)`:",
        *_quoted(with_options),
        "In words, answered by one word:",
        *_quoted(texts.word_prompt("<question>")),
        f"Without a video, with options: `{_binding_line(binding)}`, answered by a letter too.",
        "",
        "Guidance, bare or as a question in words, alone or after an earlier question:",
        "",
        *(f"* `{_history(text)}`, then `{text}` Answer: {answer}." for text, answer in GUIDANCE),
        "",
    ]


def _history(guidance: str) -> str:
    """What stands before a guidance text after an earlier question."""
    rng, facts = random.Random(0), next(iter(follow(make_world(0, SECONDS))))
    drawn = (texts.guidance(facts, rng, ("<question>", "<answer>"))[0] for _ in range(50))
    return next(text for text in drawn if text.endswith(guidance)).removesuffix(guidance).strip()


def _binding_line(prompt: str) -> str:
    (question,) = re.findall(r"Question: (.*)", prompt)
    return re.sub(r"says .*\?", "says <word>?", question)


def _quoted(prompt: str) -> list[str]:
    return ["", *(f"    {line}".rstrip() for line in prompt.strip("\n").split("\n")), ""]


def replace_section(card: str) -> str:
    """The card with the section as it is now; before `## Training` where it has none."""
    if TITLE not in card:
        return card.replace("## Training", f"{section()}\n## Training")
    head, rest = card.split(TITLE)
    following = rest.split("\n## ", 1)[1]
    return f"{head}{section()}\n## {following}"


if __name__ == "__main__":
    CARD.write_text(replace_section(CARD.read_text(encoding="utf-8")), encoding="utf-8")
