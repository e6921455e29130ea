"""Archives of videos, zip or split tar, as lists of members that can be copied one by one.

Nothing of an archive is written before all its members' names are known to be harmless.
"""

from __future__ import annotations

import io
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from video_qa.preparation.data_set import DataSet, PreparationError
from video_qa.preparation.official_files import find_files
from video_qa.preparation.split_tar import PART, Parts, check_end, check_parts

BUFFER_BYTES = 1 << 20


@dataclass(frozen=True)
class Member:
    """A file of an archive: its name there, its bytes, and how to read it."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]


@dataclass(frozen=True)
class Archive:
    """An archive's name, for messages and for `DataSet.place`, and its files."""

    name: str
    paths: tuple[Path, ...]

    @contextmanager
    def members(self) -> Iterator[list[Member]]:
        """Its files, all of them checked.

        Raises:
            PreparationError: damaged, cut off, encrypted, or a member that could leave the folder.
        """
        with ExitStack() as stack:
            try:
                is_zip = self.paths[0].suffix == ".zip"
                yield (_zip_members if is_zip else _tar_members)(self, stack)
            except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError) as error:
                raise PreparationError(
                    f"{self.paths[0]}: damaged or not completely downloaded ({error}); download it "
                    "again, then run the same command"
                ) from error


def find_archives(source: Path, data_set: DataSet) -> list[Archive]:
    """The data set's archives at or below a folder. Raises PreparationError on missing parts."""
    paths = dict.fromkeys(p for pattern in data_set.archives for p in find_files(source, pattern))
    parts = [path for path in paths if PART.fullmatch(path.name)]
    whole = [Archive(path.stem, (path,)) for path in paths if path not in parts]
    if not parts:
        return whole
    check_parts(parts, data_set.parts)
    return [*whole, Archive(parts[0].name.rpartition(".part")[0], tuple(parts))]


def check_name(name: str, archive: Path, kind: str = "") -> str:
    """A member's name, if it is harmless.

    Raises:
        PreparationError: absolute, with ``..``, or not an ordinary file.
    """
    parts = PurePosixPath(name.replace("\\", "/")).parts
    reason = kind
    if name.startswith(("/", "\\")) or (parts and ":" in parts[0]):
        reason = "an absolute path"
    elif ".." in parts:
        reason = "a path with .."
    if reason:
        raise PreparationError(
            f"{archive}: refused, because its member {name!r} is {reason}, which no official "
            "archive has; nothing of it was unpacked"
        )
    return name


def _zip_members(archive: Archive, stack: ExitStack) -> list[Member]:
    path = archive.paths[0]
    opened = stack.enter_context(zipfile.ZipFile(path))
    return [
        Member(_zip_name(info, path), info.file_size, _opener(opened, info))
        for info in opened.infolist()
        if _zip_name(info, path) and not info.is_dir()
    ]


def _zip_name(info: zipfile.ZipInfo, path: Path) -> str:
    mode = info.external_attr >> 16
    kind = "a link" if stat.S_ISLNK(mode) else "encrypted" if info.flag_bits & 1 else ""
    return check_name(info.filename, path, kind)


def _tar_members(archive: Archive, stack: ExitStack) -> list[Member]:
    # Buffered, because a raw read ends where a part ends, which tarfile takes for the end.
    parts = stack.enter_context(io.BufferedReader(Parts(archive.paths), BUFFER_BYTES))
    opened = stack.enter_context(tarfile.TarFile(fileobj=parts))
    infos = opened.getmembers()
    for info in infos:
        check_name(info.name, archive.paths[0], _tar_kind(info))
    check_end(opened, str(archive.paths[-1]))
    return [Member(i.name, i.size, _opener(opened, i)) for i in infos if i.isfile()]


def _tar_kind(info: tarfile.TarInfo) -> str:
    if info.islnk() or info.issym():
        return "a link"
    return "" if info.isfile() or info.isdir() else "a device"


def _opener(opened: Any, info: Any) -> Callable[[], IO[bytes]]:
    if isinstance(opened, tarfile.TarFile):
        return lambda: opened.extractfile(info)  # type: ignore[return-value]
    return lambda: opened.open(info)


def free_bytes(folder: Path) -> int:
    """What is free on the disk of a folder that may not exist yet."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free


def total_bytes(members: Sequence[Member]) -> int:
    return sum(member.size for member in members)
