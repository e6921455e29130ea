"""What can be known of the model before workers start: are its weights there, does a frame fit."""

from __future__ import annotations

from hermes.policy_text import read_policy, split_options
from video_qa.settings.model_registry import model_path
from video_qa.settings.run_settings import DEFAULT_ENGINE, RunSettings, SettingsError


def check_model(settings: RunSettings) -> None:
    """Refuse a run whose every question would fail alike. Another ``--engine`` checks itself.

    Raises:
        SettingsError: one frame has more visual tokens than the budget.
        ValueError: no checkpoint, or a damaged one.
    """
    if settings.engine != DEFAULT_ENGINE:
        return
    from inference.checkpoints.loading import resolve, tokens_per_step

    path = resolve(model_path(settings.model))
    if not _needs_a_frame(settings.policy):
        return
    num_tokens = tokens_per_step(path)
    if num_tokens is not None and settings.kv_size < num_tokens:
        raise SettingsError(
            f"--kv_size {settings.kv_size} holds no frame: {settings.model} makes {num_tokens} "
            f"visual tokens of each; give at least {num_tokens}, better those of several frames"
        )


def _needs_a_frame(policy: str) -> bool:
    """Whether the budget has to hold a whole frame under this policy."""
    from hermes.policies import POLICIES

    name, options = read_policy(policy)
    chosen = POLICIES[name]
    counts_frames = split_options(options)[0].get("num_frames") is not None
    return chosen.evicts or (chosen.reprefills and not counts_frames)
