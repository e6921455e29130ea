"""Unpacking videos: resumable, with a progress bar, and with a word when the disk is full."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from tqdm import tqdm

from eval.whole_file import REMEDY, drafts_in
from video_qa.preparation.archives import (
    Archive,
    Member,
    find_archives,
    free_bytes,
    total_bytes,
)
from video_qa.preparation.data_set import DataSet, PreparationError

BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Unpacked:
    """What was done: archives read, videos written, videos that were there, members left out."""

    num_archives: int = 0
    num_written: int = 0
    num_there: int = 0
    num_left_out: int = 0


def unpack(data_set: DataSet, source: Path, videos: Path) -> Unpacked:
    """Copy the videos out of the archives at or below ``source``; those that are there stay.

    Every video appears under its name only when it is complete, so that a second call goes on
    where the first one was stopped.

    Raises:
        PreparationError: a damaged or dangerous archive, a missing part, not enough room.
    """
    archives = find_archives(source, data_set)
    for draft in list(drafts_in(videos)):
        draft.unlink(missing_ok=True)
    done = [_unpack_archive(archive, data_set, videos) for archive in archives]
    return Unpacked(
        len(archives), *(sum(counts) for counts in zip(*done, strict=True)) if done else ()
    )


def _unpack_archive(archive: Archive, data_set: DataSet, videos: Path) -> tuple[int, int, int]:
    with archive.members() as members:
        placed = [(m, data_set.place(f"{archive.name}/{m.name}")) for m in members]
        wanted = [(member, videos / place) for member, place in placed if place is not None]
        _check_distinct(archive, [path for _, path in wanted])
        new = [(member, path) for member, path in wanted if not _is_there(member, path)]
        needed = total_bytes([member for member, _ in new])
        if needed > free_bytes(videos):
            raise PreparationError(
                f"{archive.name} needs {_gigabytes(needed)} in {videos}, and only "
                f"{_gigabytes(free_bytes(videos))} are free; {REMEDY}"
            )
        for member, path in _with_bar(new, archive.name, needed):
            _copy(member, path, archive)
    return len(new), len(wanted) - len(new), len(members) - len(wanted)


def _is_there(member: Member, path: Path) -> bool:
    return path.is_file() and path.stat().st_size == member.size


def _check_distinct(archive: Archive, paths: Sequence[Path]) -> None:
    double = [str(path) for path, count in Counter(paths).items() if count > 1]
    if double:
        raise PreparationError(f"{archive.paths[0]}: several members would become {double[0]}")


def _with_bar(
    new: Iterable[tuple[Member, Path]], name: str, num_bytes: int
) -> Iterator[tuple[Member, Path]]:
    with tqdm(total=num_bytes, unit="B", unit_scale=True, desc=name, disable=None) as bar:
        for member, path in new:
            yield member, path
            bar.update(member.size)


def _copy(member: Member, path: Path, archive: Archive) -> None:
    draft = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with member.open() as packed, draft.open("xb") as file:
            shutil.copyfileobj(packed, file, BLOCK_BYTES)
            num_bytes = file.tell()
        if num_bytes != member.size:
            raise EOFError(f"{member.name} ends after {num_bytes} of {member.size} bytes")
        draft.replace(path)
    except OSError as error:
        raise PreparationError(
            f"cannot unpack {member.name} of {archive.name} to {path}: "
            f"{error.strerror or error}. What was unpacked before is kept: {REMEDY}"
        ) from error
    finally:
        with suppress(OSError):
            draft.unlink()


def _gigabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB"
