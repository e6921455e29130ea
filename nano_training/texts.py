"""Everything the miniature reads and says, in the form of the released prompts."""

import random
import re

from video_qa.nanostream.facts import Facts
from video_qa.nanostream.questions import Draft, options_of
from video_qa.nanostream.vocabulary import COLOURS, PLACES, SHAPES

INIT_PROMPT = "<|im_start|>system \nYou are a helpful assistant.<|im_end|><|im_start|>user "
TURN = "<|im_end|><|im_start|>assistant\n"
ANSWER_PREFIX = "Best option: ("
LOCAL_GUIDANCE = (
    "Describe the current scene in detail, focusing on specific objects, fine-grained actions, "
    "and spatial relationships."
)
GLOBAL_GUIDANCE = (
    "Summarize the video narrative, identifying main characters, key events, timeline changes, "
    "and the overall theme."
)


def choice_prompt(question: str, options: list[str]) -> str:
    lines = "\n".join(f"({'ABCDEFGH'[i]}) {option}" for i, option in enumerate(options))
    body = f"Question: {question}\nOptions:\n{lines}\nOnly give the best option."
    return f"\n{body}{TURN}{ANSWER_PREFIX}"


def word_prompt(question: str) -> str:
    return f"\n{question}{TURN}"


def ask(draft: Draft, rng: random.Random, choice: bool) -> tuple[str, str]:
    """A prompt and the text that should follow it, without the closing `<|im_end|>`."""
    if not choice:
        return word_prompt(draft.question), f" {draft.answer}"
    options = options_of(draft, rng)
    return choice_prompt(draft.question, options), f"{'ABCDEFGH'[options.index(draft.answer)]})"


def binding(rng: random.Random) -> tuple[str, str]:
    """A text-only question: which letter says this word."""
    words = rng.choice((COLOURS, SHAPES, PLACES, ("yes", "no"), ("0", "1", "2", "3")))
    options = rng.sample(words, min(4, len(words)))
    index = rng.randrange(len(options))
    prompt = choice_prompt(f"Which option says {options[index]}?", options)
    return prompt, f"{'ABCDEFGH'[index]})"


def describe(facts: Facts) -> str:
    """The answer to the local guidance question: what is visible, in reading order."""
    things = sorted(facts.visible, key=lambda thing: PLACES.index(thing.place))
    return "".join(f" {thing.colour} {thing.shape} {thing.place}" for thing in things)


def summarise(facts: Facts) -> str:
    """The answer to the global guidance question: shapes by first appearance, first colours."""
    order = sorted(facts.first_seen, key=lambda shape: facts.first_seen[shape])
    return "".join(f" {facts.colours[shape][0]} {shape}" for shape in order)


def guidance(facts: Facts, rng: random.Random, turn: tuple[str, str] | None) -> tuple[str, str]:
    """A guidance question as the engine asks it, plain or as a chat turn, with its answer.

    `turn` is an earlier question and answer for the history prefixes, or None.
    """
    history = f"Question: {turn[0]} Answer: {turn[1].strip()}" if turn else None
    if rng.random() < 0.5:
        head, text, answer = "Find recent details related to", LOCAL_GUIDANCE, describe(facts)
    else:
        head, text, answer = "Context summary", GLOBAL_GUIDANCE, summarise(facts)
    text = f"{head}: {history}. {text}" if history else text
    return (text if rng.random() < 0.5 else word_prompt(text)), answer


def corpus(rng: random.Random, watched: list[Facts], drafts: list[Draft]) -> list[str]:
    """Texts to train the tokenizer on."""
    pairs = [binding(rng) for _ in range(len(drafts) // 10)]
    pairs += [ask(draft, rng, choice) for draft in drafts for choice in (False, True)]
    for facts in watched:
        draft = rng.choice(drafts)
        turn = (draft.question, draft.answer)
        pairs += [guidance(facts, rng, None), guidance(facts, rng, turn)]
    texts = [INIT_PROMPT, "; "] * 50 + [text for pair in pairs for text in pair]
    return [part for text in texts for part in re.split(r"<\|\w+\|>", text)]
