"""A tar that was cut into parts (`split`), read as one file; what is missing is noticed."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Sequence
from pathlib import Path

from video_qa.preparation.data_set import PreparationError

PART = re.compile(r"(.+\.tar)\.part([a-z]+)")
BLOCK = tarfile.BLOCKSIZE


class Parts(io.RawIOBase):
    """Files one after the other, read-only and seekable."""

    def __init__(self, paths: Sequence[Path]) -> None:
        super().__init__()
        self._files = [path.open("rb") for path in paths]
        self._sizes = [path.stat().st_size for path in paths]
        self._position = 0

    @property
    def size(self) -> int:
        """Bytes of all parts together."""
        return sum(self._sizes)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        start = self._position
        for file, size in zip(self._files, self._sizes, strict=True):
            if start < size:
                file.seek(start)
                count = file.readinto(memoryview(buffer)[: size - start])
                self._position += count
                return count
            start -= size
        return 0

    def close(self) -> None:
        for file in self._files:
            file.close()
        super().close()


def check_parts(paths: Sequence[Path], known: int | None) -> None:
    """Refuse a split tar with a missing or unfinished part.

    `split` makes all parts but the last equally large. Python's tarfile would read over a gap
    without a word, wherever it happens to find a header again.

    Raises:
        PreparationError: names the parts.
    """
    letters = [_letters(path) for path in paths]
    wanted = [_suffix(i, len(letters[0])) for i in range(known or len(letters))]
    missing = [suffix for suffix in wanted if suffix not in letters]
    if missing:
        names = ", ".join(f"{_stem(paths[0])}.part{suffix}" for suffix in missing)
        raise PreparationError(f"{paths[0].parent}: {names} missing; download them too")
    sizes = [path.stat().st_size for path in paths]
    unlike = [
        path.name for path, size in zip(paths[:-1], sizes, strict=False) if size != max(sizes)
    ]
    if unlike:
        raise PreparationError(
            f"{paths[0].parent}: {', '.join(unlike)} smaller than the other parts, so the download "
            "was cut off; download them again"
        )


def check_end(tar: tarfile.TarFile, name: str) -> None:
    """Refuse a tar, of which all headers were read, that does not end as a tar ends.

    Raises:
        PreparationError: it is cut off, or damaged at some header.
    """
    source = tar.fileobj
    assert source is not None
    source.seek(tar.offset)
    if source.read(BLOCK) != bytes(BLOCK):
        raise PreparationError(
            f"{name}: cut off or damaged at byte {tar.offset:,}; nothing of it was unpacked. "
            "Download it again"
        )


def _suffix(number: int, length: int) -> str:
    letters = ""
    for _ in range(length):
        number, rest = divmod(number, 26)
        letters = chr(ord("a") + rest) + letters
    return letters


def _letters(path: Path) -> str:
    match = PART.fullmatch(path.name)
    if match is None:
        raise PreparationError(f"{path}: expected a part of a tar, such as x.tar.partaa")
    return match[2]


def _stem(path: Path) -> str:
    return path.name.rpartition(".part")[0]
