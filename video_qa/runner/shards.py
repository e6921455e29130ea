"""How videos are dealt out to workers, and what the workers' files are called."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from video_qa.questions.annotations import Video
from video_qa.results.prediction import Key

PREDICTIONS_FILE = "predictions.jsonl"
SOME_QUESTIONS_FAILED = 3  # exit code of a worker that did its shard, with errors in some rows


def shard_stem(num_chunks: int, chunk_idx: int) -> str:
    """Name of a worker's files without their ending, as released: ``8_0``."""
    return f"{num_chunks}_{chunk_idx}"


def question_keys(videos: Sequence[Video]) -> list[Key]:
    """The keys of all questions in annotation order."""
    return [(video.index, i) for video in videos for i in range(len(video.questions))]


def unfinished(videos: Sequence[Video], answered: Collection[Key]) -> list[Video]:
    """The videos that still owe an answer."""
    return [
        video
        for video in videos
        if any((video.index, i) not in answered for i in range(len(video.questions)))
    ]


def shard(
    videos: Sequence[Video], num_chunks: int, chunk_idx: int, first_only: bool = False
) -> list[Video]:
    """Every ``num_chunks``-th video from ``chunk_idx`` on; empty when there are fewer videos.

    Neighbours in an annotation file are alike (all short videos first), so dealing them out one by
    one balances better than blocks. ``first_only`` keeps one video, for a trial run.

    Raises:
        ValueError: ``chunk_idx`` is not in [0, num_chunks).
    """
    if not 0 <= chunk_idx < num_chunks:
        raise ValueError(f"chunk_idx must be in [0, {num_chunks}), got {chunk_idx}")
    dealt = list(videos[chunk_idx::num_chunks])
    return dealt[:1] if first_only else dealt
