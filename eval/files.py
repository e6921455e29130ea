"""JSON files beside a results CSV: no evaluator writes over another's section."""

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eval.whole_file import write_text

logger = logging.getLogger(__name__)


def write_json(path: Path, value: Any) -> None:
    """`write_text` of `value` as JSON; NaN and infinity are refused because JSON has neither."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json_object(path: Path) -> dict[str, Any] | None:
    """The JSON object in `path`; None, with a warning unless it is absent, when there is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
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
