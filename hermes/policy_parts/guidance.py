"""Guidance: what the memory is asked to find out which visual tokens matter (paper section 3.3).

A new text that a policy may ask for is one entry in `TEXTS`, a new wording of the questions one
entry in `QUESTIONS`. Needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

Guidance = str
"""Name of a text whose attention a layer may ask for, a key of `TEXTS`."""


class Questions(NamedTuple):
    """A question about the present, and one about all that has been seen."""

    local: str
    overall: str

    @classmethod
    def one(cls, question: str) -> Questions:
        """The same for both."""
        return cls(question, question)


TEMPLATE = "<|im_end|><|im_start|>assistant\n"
"""Where every answer begins; as a guidance text it asks nothing in particular (StreamMem)."""

QUESTIONS: dict[str, Questions] = {
    "default": Questions(
        "Describe the current scene in detail, focusing on specific objects, fine-grained "
        "actions, and spatial relationships.",
        "Summarize the video narrative, identifying main characters, key events, timeline "
        "changes, and the overall theme.",
    ),
    "what_happens": Questions.one("What happens in the video?"),
    "describe": Questions.one("Describe the video in detail."),
    "summarize": Questions.one("Summarize the content of the video."),
}
"""Name in `MemoryConfig.guidance_prompts` -> what is asked. After `default` those of the paper's
ablation; how it asked the working band, which reads both questions, the paper does not say."""

TEXTS: dict[Guidance, Callable[[Questions], str]] = {
    "local": lambda asked: asked.local,
    "mixed": lambda asked: f"{asked.local}; {asked.overall}",
    "global": lambda asked: asked.overall,
    "template": lambda asked: TEMPLATE,
}


def texts_of(asked: Questions) -> dict[Guidance, str]:
    """Every text that a policy may ask for."""
    return {name: text(asked) for name, text in TEXTS.items()}
