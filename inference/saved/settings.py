"""What has to be the same for a saved stream to go on as if it had never been interrupted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from typing import TYPE_CHECKING, Any

from hermes import MemoryConfig

if TYPE_CHECKING:
    from inference.abstract_hermes import AbstractHermes

_ABSENT = "(not set)"


def settings_of(engine: AbstractHermes) -> dict[str, Any]:
    """Family, weights, configuration, frame rate, pixels and prompt of an engine; JSON-able."""
    options = asdict(engine.policy.options)
    settings = {
        "family": engine.family,
        "weights": getattr(engine.model, "weights_digest", None),
        "sample_fps": engine.sample_fps,
        "init_prompt": engine.init_prompt,
        "max_positions": engine.max_positions,
        "pixels": asdict(engine.processor.pixels),
        "config": {**asdict(engine.config), "policy_options": options},
    }
    return json.loads(json.dumps(settings))


def differences(saved: Mapping[str, Any], ours: Mapping[str, Any]) -> list[str]:
    """What differs, with both values; weights only where both are known. Who decided a field
    (`set_by`) and by which profile changes nothing and is left out. A field of `MemoryConfig` that
    a file does not know had its default when it was written."""
    there, here = _flat(_completed(saved)), _flat(ours)
    found = []
    for name in {**there, **here}:
        old, new = there.get(name, _ABSENT), here.get(name, _ABSENT)
        if old == new or (name == "weights" and None in (old, new)):
            continue
        found.append(f"{name} is {old!r} in the file and {new!r} here")
    return found


def _completed(saved: Mapping[str, Any]) -> dict[str, Any]:
    if "policy_options" not in saved.get("config", {}):  # 0.1.0 wrote no configuration
        return dict(saved)
    usual = {f.name: f.default for f in fields(MemoryConfig) if f.default is not MISSING}
    return {**saved, "config": {**json.loads(json.dumps(usual)), **saved["config"]}}


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Names of nested fields as `policy_options.recent_share`; those of `config` stand alone."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if prefix == "" and name == "config":
            flat |= _flat({k: v for k, v in value.items() if k not in ("set_by", "profile")})
        elif isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
