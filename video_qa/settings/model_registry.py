"""Which models, policies and profiles exist, and how a model is loaded.

Models and policies are imported where they are looked up: with another ``--engine`` neither torch
nor transformers is needed.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hermes.policy_text import check_policy
from video_qa.settings.policy_spec import named_fields
from video_qa.settings.run_settings import DEFAULT_ENGINE, RunSettings, SettingsError

if TYPE_CHECKING:
    from inference.checkpoints.models import ModelEntry


def check_names(settings: RunSettings) -> None:
    """Raises SettingsError, with the known names, for an unknown model, policy or profile.

    Another ``--engine`` may know other policies and profiles; it has to check them itself.
    """
    model_path(settings.model)
    if settings.engine == DEFAULT_ENGINE:
        from hermes.config import PROFILES

        check_policy(settings.policy)
        _check("profile", settings.profile, PROFILES)


def model_path(model: str) -> str:
    """The checkpoint of a model key; a folder or a hub id (``owner/name``) stands for itself.

    Of a key whose checkpoint is missing the place where it should be.

    Raises:
        SettingsError: neither a key nor an existing folder nor of the form of a hub id.
    """
    entry = _entry(model)
    if entry is not None:
        return entry.folder() or entry.path
    if Path(model).is_dir() or _looks_like_hub_id(model):
        return model
    from inference.checkpoints.models import entry_of

    known = entry_of(model)
    advice = "" if known is None else f"; {known.advice(model)}"
    raise SettingsError(
        f"unknown model '{model}': expected one of {', '.join(model_keys())}, "
        f"or a folder or hub id with a checkpoint{advice}"
    )


def num_devices(model: str) -> int:
    """How many GPUs one copy of the model needs."""
    entry = _entry(model)
    return 1 if entry is None else entry.num_devices


def model_name(model: str) -> str:
    """The name of the model's folder in the results tree."""
    return Path(model).resolve().name if _entry(model) is None else model


def model_keys() -> tuple[str, ...]:
    """The short names of models."""
    from inference.checkpoints.models import MODELS

    return tuple(MODELS)


def _entry(model: str) -> ModelEntry | None:
    if "/" in model:  # a path or hub id, never a key
        return None
    from inference.checkpoints.models import MODELS

    return MODELS.get(model)


def load_engine(settings: RunSettings, device: str | None) -> Any:
    """The model that ``settings.engine`` loads, ready to watch."""
    loader = _find_loader(settings.engine)
    model, _processor = loader(
        model_path(settings.model),
        device=device,
        sample_fps=settings.sample_fps,
        max_pixels=settings.max_pixels,
        dtype=settings.dtype,
        attn=settings.attn,
        **({} if settings.execution == "auto" else {"execution": settings.execution}),
        data_set={"reindex": "lazy" if settings.streaming else "eager"},
        **named_fields(settings),
    )
    return model


def _find_loader(engine: str) -> Callable[..., Any]:
    module_name, _, function_name = engine.partition(":")
    try:
        return getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingsError(
            f"--engine {engine}: {error}; expected MODULE:FUNCTION, e.g. inference:load_model"
        ) from error


def _check(what: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        raise SettingsError(f"unknown {what} '{name}': expected one of {', '.join(known)}")


def _looks_like_hub_id(model: str) -> bool:
    parts = model.split("/")
    return len(parts) == 2 and all(parts) and not model.startswith((".", "/", "models/"))
