"""Files beside a results CSV: written whole or not at all, and never over another's section."""

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

logger = logging.getLogger(__name__)

REMEDY = "make room, or let the place be written, and run the same command again"


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text` in one step: a killed process leaves the old file or the new.

    Raises:
        OSError: the folder cannot be created or written; the message names the file and a remedy.
    """
    draft = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with draft.open("x", encoding="utf-8") as file:  # x: never through a link
                file.write(text)
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(f"{path}: {error.strerror or error}; {REMEDY}") from error


def write_json(path: Path, value: Any) -> None:
    """`write_text` of `value` as JSON; NaN and infinity are refused because JSON has neither."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json_object(path: Path) -> dict[str, Any] | None:
    """The JSON object in `path`; None, with a warning unless it is absent, when there is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        logger.warning("%s is not readable as JSON and is ignored: %s", path, error)
        return None
    if isinstance(value, dict):
        return value
    logger.warning("%s holds no JSON object and is ignored", path)
    return None


def merge_metrics(folder: Path, section: str, metrics: Mapping[str, Any]) -> Path:
    """Set `section` of `folder`/metrics.json and leave what other evaluators wrote there.

    A metrics.json that cannot be read is kept under the name metrics.json.unreadable.

    Returns:
        The path of metrics.json.
    """
    path = folder / "metrics.json"
    sections = read_json_object(path)
    if sections is None and path.exists():
        os.replace(path, path.with_name("metrics.json.unreadable"))
    write_json(path, {**(sections or {}), section: dict(metrics)})
    return path
