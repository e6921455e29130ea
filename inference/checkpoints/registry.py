"""Which family serves which kind of checkpoint."""

from __future__ import annotations

from importlib import import_module

from inference.checkpoints.family import Family

FAMILIES: dict[str, str] = {
    "llava_onevision": "inference.llavaov_hermes",
    "qwen2_5_vl": "inference.qwenvl_hermes",
    "qwen3_vl": "inference.families.qwen3vl_hermes",
    "qwen3_vl_moe": "inference.families.qwen3vl_hermes:MIXTURE_FAMILY",
}
"""`model_type` of config.json -> the module that offers `FAMILY`, or MODULE:NAME; it is imported
when a checkpoint asks for it. A new family is one file and one entry here."""


def family_of(model_type: str) -> Family:
    """Raises KeyError for a kind of checkpoint that is not registered."""
    module, _, name = FAMILIES[model_type].partition(":")
    family = getattr(import_module(module), name or "FAMILY")
    assert isinstance(family, Family)
    return family
