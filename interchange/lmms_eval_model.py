"""This project's engine as a model of lmms-eval (0.7), found through its entry point.

    python -m lmms_eval --model hermes_stream --tasks videomme \
        --model_args pretrained=llava_ov_7b,kv_size=6000,sample_fps=0.5

A "simple" model of theirs: it gets the prompt of the task and the path of the video (or images),
watches, and answers. lmms-eval has no notion of a question in the middle of a stream, so a video is
watched to its end. Importing this file needs lmms-eval, which has to live in an environment of its
own (docs/interchange.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from lmms_eval.api.model import lmms
from tqdm import tqdm

from inference.answers.prompts import get_prompt
from inference.face.stream import Stream, open_stream

MODEL_ID = "hermes_stream"


class HermesStream(lmms):
    """`generate_until` over streams."""

    is_simple = True

    def __init__(
        self,
        pretrained: str = "nano",
        kv_size: int = 6000,
        device: str | None = None,
        batch_size: int | str = 1,
        max_batch_size: int | None = None,
        **options: Any,
    ) -> None:
        """Load a model.

        Args:
            pretrained: key of `inference.MODELS`, checkpoint folder, or hub id.
            kv_size: visual tokens per layer.
            batch_size, max_batch_size: given by lmms-eval; streams are answered one by one.
            options: of `hermes.open`; positions are renumbered eagerly unless `reindex` says
                otherwise.
        """
        super().__init__()
        self.batch_size = 1
        options = {"data_set": {"reindex": "eager"}, **options}
        self.stream: Stream = open_stream(pretrained, kv_size=kv_size, device=device, **options)
        self._watched: list[Any] | None = None

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """One text per request, cut before the first of its stop texts."""
        return [
            self._answer(*request.args)
            for request in tqdm(requests, desc="Answering", disable=self.rank != 0)
        ]

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Not offered."""
        raise NotImplementedError("hermes_stream generates; choose a task of type generate_until")

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
        """Not offered."""
        raise NotImplementedError("hermes_stream answers single questions; choose another task")

    def _answer(
        self, context: str, options: dict[str, Any], doc_to_visual: Any, doc: Any, *where: str
    ) -> str:
        task, split = where
        self._watch(_flat(doc_to_visual(self.task_dict[task][split][doc])))
        request = {"question": context, "prompt": get_prompt(context, mc=False)}
        text = self.stream.engine.question_answering(
            request, options.get("max_new_tokens", 256), options.get("temperature") or 0
        )
        text = _cut(text, options.get("until") or ())
        self.cache_hook.add_partial("generate_until", (context, options), text)
        return text

    def _watch(self, visuals: list[Any]) -> None:
        """Questions about one video follow each other; answering leaves the memory as it is."""
        if self._watched is not None and _same(self._watched, visuals):
            self.stream.engine.conv_history.clear()
            return
        self.stream.clear()
        self._watched = None
        for visual in visuals:
            self.stream.watch(visual if isinstance(visual, str) else _frame(visual), progress=False)
        if not self.stream.num_frames:
            raise ValueError("the task gives neither a video nor an image")
        self._watched = visuals


def manifest() -> Any:
    """What the entry point hands to lmms-eval's registry."""
    from lmms_eval.models.registry_v2 import ModelManifest

    path = f"{HermesStream.__module__}.{HermesStream.__qualname__}"
    return ModelManifest(model_id=MODEL_ID, simple_class_path=path)


def _frame(image: Any) -> np.ndarray:
    """(1, H, W, 3) uint8 of a PIL image."""
    return np.array(image.convert("RGB"))[None]


def _flat(visuals: Any) -> list[Any]:
    if not isinstance(visuals, list | tuple):
        return [] if visuals is None else [visuals]
    return [part for visual in visuals for part in _flat(visual)]


def _same(left: list[Any], right: list[Any]) -> bool:
    """Paths are compared, images are what they are."""
    return len(left) == len(right) and all(
        a == b if isinstance(a, str) and isinstance(b, str) else a is b
        for a, b in zip(left, right, strict=True)
    )


def _cut(text: str, until: Sequence[str] | str) -> str:
    stops = [until] if isinstance(until, str) else until
    ends = [text.find(stop) for stop in stops if stop and stop in text]
    return text[: min(ends)] if ends else text
