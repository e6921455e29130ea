r"""One worker: answers the questions of its shard of the videos and stores each answer at once.

    python video_qa/hermes_vqa.py --save_dir results/x --anno_path videos.json --kv_size 6000 \
        --num_chunks 8 --chunk_idx 3 --streaming --debug false

Writes ``{num_chunks}_{chunk_idx}.jsonl`` question by question (a second call goes on where the
first one stopped) and ``{num_chunks}_{chunk_idx}.csv`` at the end. Normally started by
``video_qa/run_infer.py``. Exit code 0: every question has an answer; 1: some have an error instead;
2: nothing could be done.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a script: import from the repository root, not from here
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from inference.answers.multiple_choice import extract_characters_regex, format_mcqa_prompt
from video.reader import FrameChunk, VideoStream
from video_qa.base import Answer, BaseVQA, watched
from video_qa.questions.annotations import Question
from video_qa.questions.benchmarks import DEFAULT_MAX_NEW_TOKENS
from video_qa.runner import worker
from video_qa.settings.run_settings import RunSettings

logger = logging.getLogger(__name__)


class HermesVQA(BaseVQA):
    """The question loop on a model with streaming memory (``inference.load_model``)."""

    RECORDED: tuple[str, ...] = ("tokens_per_frame", "horizon_seconds")
    """What each prediction stores of the engine's description."""
    format_mcqa_prompt = staticmethod(format_mcqa_prompt)
    extract_characters_regex = staticmethod(extract_characters_regex)

    def __init__(
        self, model: Any, settings: RunSettings, run_id: str, video_root: Path | None = None
    ) -> None:
        super().__init__(settings, run_id, video_root)
        self.model = model

    def start_stream(self) -> None:
        self.model.clear_cache()

    def encode_until(self, video: VideoStream, stop_index: int | None) -> None:
        for chunk, seen in self._chunks(video, stop_index):
            first, last = chunk.start_index, chunk.start_index + len(chunk.frames)
            logger.debug("Encoding frames %d to %d", first, last)
            features = {} if seen is None else {"seen": seen}
            self.model.encode_video_chunk(
                chunk.frames, times_seconds=chunk.times_seconds, **features
            )
            self.model.predict_and_compress()

    def _chunks(
        self, video: VideoStream, stop_index: int | None
    ) -> Iterator[tuple[FrameChunk, Any]]:
        """With their features, where the model has seen them ahead of their turn."""
        if not hasattr(self.model, "lookahead"):  # an engine of somebody else
            return ((chunk, None) for chunk in video.take(stop_index))
        return self.model.lookahead.over(*watched(video, stop_index), self.model.look)

    def ask(self, question: Question) -> Answer:
        if question.choices is None:
            text = self.video_open_qa(question.question)["pred_answer"]
            return Answer(text, timing=self._timing())
        reply = self.video_close_qa(question.question, question.choices, question.correct_letter)
        return Answer(reply["pred_answer"], reply["pred_choice"], self._timing())

    def remember(self, question: Question, answer_text: str) -> None:
        body = format_mcqa_prompt(question.question, question.choices) if question.choices else ""
        self.model.add_history(question.question, answer_text, body)

    def video_open_qa(self, question: str, max_new_tokens: int | None = None) -> dict[str, str]:
        """Ask an open-ended question; ``pred_answer`` of the result is the model's text."""
        request = {"question": question, "prompt": self.model.get_prompt(question)}
        return {"pred_answer": self._generate(request, max_new_tokens, "open_ended")}

    def video_close_qa(
        self, question: str, candidates: Sequence[str], correct_choice: str | None
    ) -> dict[str, Any]:
        """Ask a multiple-choice question: ``pred_answer``, ``pred_choice``, ``acc`` (0 or 100)."""
        body = format_mcqa_prompt(question, candidates)
        prompt = self.model.get_prompt(body, mc=True)
        request = {"question": question, "formatted_question": body, "prompt": prompt}
        text = self._generate(request, None, "multiple_choice")
        letter = extract_characters_regex(text)
        accuracy = 100.0 if letter == correct_choice else 0.0
        return {"pred_answer": text, "pred_choice": letter, "acc": accuracy}

    def _generate(self, request: dict[str, str], max_new_tokens: int | None, kind: str) -> str:
        limit = max_new_tokens or self.settings.max_new_tokens or DEFAULT_MAX_NEW_TOKENS[kind]
        return self.model.question_answering(request, max_new_tokens=limit)

    def _timing(self) -> dict[str, Any]:
        timing, described = self.model.last_timing, self.model.describe()
        recorded = {name: described.get(name) for name in self.RECORDED}
        return recorded if timing is None else dataclasses.asdict(timing) | recorded


def main(argv: Sequence[str] | None = None) -> int:
    """Run one shard; returns the exit code."""
    return worker.main(HermesVQA, argv)


if __name__ == "__main__":
    sys.exit(main())
