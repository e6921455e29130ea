"""What differs between an annotation file that was prepared here and one of somebody else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import PurePosixPath

from video_qa.questions.annotations import Question, Video

ONE_SIDED = "set on one side: "
VIDEO_FIELDS = ("clip_seconds", "folder_fps", "duration_category")


def differences(ours: Sequence[Video], theirs: Sequence[Video]) -> list[str]:
    """A line per difference; nothing where both ask the same of the same videos in one order.

    Videos are told by the end of their path below a folder ``videos``, questions by their text and
    options. Labels of questions (``task``) count; keys that the loader ignores do not.
    """
    here, there = _by_video(ours), _by_video(theirs)
    lines = [f"only here: video {name}" for name in here if name not in there]
    lines += [f"only there: video {name}" for name in there if name not in here]
    shared = [name for name in here if name in there]
    for name in shared:
        lines += _differences_of_video(name, here[name], there[name])
    lines = _one_sided(lines)
    if shared != [name for name in there if name in here]:
        lines.append("the videos come in another order")
    return lines


Asked = list[tuple[Video, Question]]


def _by_video(videos: Sequence[Video]) -> dict[str, Asked]:
    found: dict[str, Asked] = {}
    for video in videos:
        own = found.setdefault(video_name(video.video_path), [])
        own += [(video, question) for question in video.questions]
    return found


def video_name(path: str) -> str:
    """The end of a path that names a video wherever the data lie: below ``videos``, else all."""
    parts = PurePosixPath(path).parts
    return str(PurePosixPath(*parts[parts.index("videos") + 1 :])) if "videos" in parts else path


def _differences_of_video(name: str, ours: Asked, theirs: Asked) -> Iterator[str]:
    left = list(theirs)
    order: list[int] = []
    for mine in ours:
        twin = _twin(mine, left)
        if twin is None:
            yield f"{name}: only here: {mine[1].question!r}{_at(mine[1])}"
            continue
        order.append(theirs.index(twin))
        left.remove(twin)
        yield from (f"{name}: {line}" for line in _differing_fields(mine, twin))
    for _, question in left:
        yield f"{name}: only there: {question.question!r}{_at(question)}"
    if order != sorted(order):
        yield f"{name}: the questions come in another order"


def _twin(mine: tuple[Video, Question], others: Asked) -> tuple[Video, Question] | None:
    """The most similar of the other side's questions with the same words."""
    same = [other for other in others if _words(other[1]) == _words(mine[1])]
    return min(same, key=lambda other: len(list(_differing_fields(mine, other))), default=None)


def _words(question: Question) -> str:
    return " ".join(question.question.split())


def _differing_fields(mine: tuple[Video, Question], other: tuple[Video, Question]) -> Iterator[str]:
    (video, question), (its_video, its_question) = mine, other
    pairs = [
        (f.name, getattr(question, f.name), getattr(its_question, f.name)) for f in fields(Question)
    ]
    pairs += [(n, getattr(video, n), getattr(its_video, n)) for n in VIDEO_FIELDS]
    for name, here, there in pairs:
        if here != there:
            spaces = " (spaces only)" if _squeezed(here) == _squeezed(there) else ""
            if here is None or there is None:
                yield f"{ONE_SIDED}{name}, {'there' if here is None else 'here'} only"
                continue
            label = "" if name == "question" else f"{question.question!r}: "
            yield f"{label}{name} {here!r} here, {there!r} there{spaces}"


def _one_sided(lines: Sequence[str]) -> list[str]:
    """The lines, with one for each field that only one side sets, of however many questions."""
    parts = Counter(line.partition(ONE_SIDED)[2] for line in lines if ONE_SIDED in line)
    rest = [line for line in lines if ONE_SIDED not in line]
    return [*(f"{what}: {count:,} questions" for what, count in parts.items()), *rest]


def _squeezed(value: object) -> object:
    if isinstance(value, str):
        return " ".join(value.split())
    return [_squeezed(item) for item in value] if isinstance(value, tuple) else value


def _at(question: Question) -> str:
    end = question.end_time_seconds
    return "" if end is None else f" at {end:g} s"
