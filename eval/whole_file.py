"""Files that appear completely or not at all: the project's one atomic write.

It stands here because `eval` imports nothing of ours, so that every package may import this file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

DRAFT = re.compile(r"\..+\.[0-9a-f]{32}\.tmp")
REMEDY = "make room, or choose a place that can be written, and run the same command again"


class WriteError(OSError):
    """A file cannot be written; the message names it and says what to do."""


def write_text(path: Path, text: str) -> None:
    """Write ``text`` beside ``path`` and rename it into place once it is safely on the disk.

    A missing folder is made.

    Raises:
        WriteError: the folder is not writable or the disk is full; ``path`` is then unchanged.
    """
    draft = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("x", encoding="utf-8", newline="") as file:  # x: never through a link
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError as error:
        raise WriteError(f"cannot write {path}: {error.strerror or error}; {REMEDY}") from error
    finally:
        with suppress(OSError):  # the error above says more
            draft.unlink()


def drafts_in(folder: Path) -> Iterator[Path]:
    """What killed processes left of files that they were writing atomically."""
    return (path for path in folder.rglob(".*.tmp") if DRAFT.fullmatch(path.name))
