"""The benchmarks: where a dataset's annotations lie, how it is asked, and who evaluates it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inference.answers.multiple_choice import CHOICE_TOKENS, OPEN_TOKENS
from video_qa.questions.annotations import MULTIPLE_CHOICE, OPEN_ENDED, Video

DEFAULT_MAX_NEW_TOKENS = {MULTIPLE_CHOICE: CHOICE_TOKENS, OPEN_ENDED: OPEN_TOKENS}


@dataclass(frozen=True)
class Benchmark:
    """One dataset.

    Attributes:
        annotation_file: default path, relative to the working directory; None: to be given.
        streaming: lazy (True) or eager (False) re-indexing; the question loop is the same.
        kind: ``MULTIPLE_CHOICE`` or ``OPEN_ENDED``; every question must be of that kind. None:
            each question may be of either.
        evaluators: sub-commands of ``eval/eval_multiple_choice.py`` in order; empty means the
            open-ended judge, or, where questions may be of either kind, `EVALUATOR_OF_KIND`.
    """

    annotation_file: str | None
    streaming: bool
    kind: str | None = MULTIPLE_CHOICE
    evaluators: tuple[str, ...] = ("general",)


DATASETS: dict[str, Benchmark] = {
    "nanostream": Benchmark("data/nanostream/nanostream_test.json", streaming=True),
    "nanostream_words": Benchmark(
        "data/nanostream/nanostream_words_test.json",
        streaming=True,
        kind=OPEN_ENDED,
        evaluators=("words",),
    ),
    "videomme": Benchmark(
        "data/videomme/videomme.json", streaming=False, evaluators=("general", "videomme")
    ),
    "mvbench": Benchmark("data/mvbench/mvbench.json", streaming=False),
    "egoschema": Benchmark(
        "data/egoschema/egoschema.json", streaming=False, evaluators=("egoschema",)
    ),
    "egoschema_subset": Benchmark("data/egoschema/egoschema_subset.json", streaming=False),
    "rvs_ego": Benchmark(
        "data/rvs/ego/ego4d_oe.json", streaming=True, kind=OPEN_ENDED, evaluators=()
    ),
    "rvs_movie": Benchmark(
        "data/rvs/movie/movienet_oe.json", streaming=True, kind=OPEN_ENDED, evaluators=()
    ),
    "ovobench": Benchmark("data/ovobench/ovobench_realtime_backeward.json", streaming=True),
    "ovobench_forward": Benchmark(
        "data/ovobench/ovobench_forward.json",
        streaming=True,
        kind=OPEN_ENDED,
        evaluators=("ovo_forward",),
    ),
    "streamingbench": Benchmark("data/streamingbench/streamingbench_realtime.json", streaming=True),
    "trace": Benchmark("data/trace/trace_qa.json", streaming=True),
    "custom": Benchmark(None, streaming=True, kind=None),
}

EVALUATOR_OF_KIND = {MULTIPLE_CHOICE: "general", OPEN_ENDED: "words"}
"""For questions of one's own; ``words`` needs no judge."""


def is_stream(benchmark: Benchmark, videos: Sequence[Video]) -> bool:
    """`Benchmark.streaming`; of questions of one's own, whether any has an ``end_time``."""
    if benchmark.kind is not None:
        return benchmark.streaming
    return any(q.end_time_seconds is not None for video in videos for q in video.questions)
