"""Under which protocol the numbers of a run were made, from the files beside its results."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eval.files import merge_metrics, read_json_object

SECTION = "protocol"
_SETTINGS = (
    *("policy", "profile", "kv_size", "sample_fps", "sampling", "chunk_frames"),
    *("max_pixels", "max_new_tokens", "late_questions", "weights"),
)
_ENGINE = (
    *("reindex", "tokens_per_frame", "horizon_seconds", "prompts_hash", "guidance_prompts"),
    *("guidance_hash", "use_history", "dtype", "kv_dtype", "attn"),
)


def protocol_beside(results_path: Path) -> dict[str, Any]:
    """What has to be known of numbers before others are held against them; JSON-able.

    `tokens_per_frame` and `horizon_seconds` (how much of the stream the budget holds) are those of
    the last video. Of results that no run of this project wrote nothing is known: empty.
    """
    config = read_json_object(results_path.parent / "config.json")
    if config is None:
        return {}
    environment = read_json_object(results_path.parent / "environment.json") or {}
    settings, engine = (_object(config.get(name)) for name in ("settings", "engine"))
    return {
        "dataset": config.get("dataset"),
        "model": config.get("model"),
        **{name: settings.get(name) for name in _SETTINGS},
        **{name: engine.get(name) for name in _ENGINE},
        "versions": _object(environment.get("packages")),
        "git_commit": environment.get("git_commit"),
        "imported_from": config.get("imported_from"),
    }


def record_protocol(results_path: Path) -> None:
    """Set the `protocol` section of metrics.json beside the results, if there is anything to say.

    Raises:
        OSError: the disk refuses.
    """
    if protocol := protocol_beside(results_path):
        merge_metrics(results_path.parent, SECTION, protocol)


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
