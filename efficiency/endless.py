"""Answers that go on to the last token that is asked for, so that times per token have a number."""

from __future__ import annotations

from inference import AbstractHermes
from inference.checkpoints.processor import Processor


class EndlessProcessor(Processor):
    """No token ends an answer."""

    @property
    def stop_ids(self) -> frozenset[int]:
        """None."""
        return frozenset()


def without_end(engine: AbstractHermes) -> AbstractHermes:
    """The engine, it and its new streams never stopping by themselves."""
    engine.processor = EndlessProcessor(engine.processor.tokenizer, engine.processor.pixels)
    return engine
