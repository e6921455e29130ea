"""From a checkpoint folder or hub id to an engine, with errors that say what to do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import transformers
from torch import nn

from hermes import configure
from hermes.policy_text import check_policy, with_policy_text
from inference.abstract_hermes import AbstractHermes
from inference.checkpoints.family import Family
from inference.checkpoints.models import MODELS, entry_of
from inference.checkpoints.processor import Processor
from inference.checkpoints.registry import FAMILIES, family_of
from inference.errors import ModelLoadError
from inference.saved.weights_digest import weights_digest
from inference.vision.frames import read_processor_file

_HEAD = "lm_head.weight"
"""Tied to the embeddings in some checkpoints and then rightly absent."""


def load_model(
    model_path: str | Path,
    *,
    kv_size: int,
    streaming: bool | None = None,
    device: str | torch.device | None = None,
    sample_fps: float | None = None,
    policy: str = "hermes",
    profile: str = "released",
    dtype: str | torch.dtype | None = None,
    attn: str = "auto",
    execution: str = "auto",
    max_pixels: int | None = None,
    data_set: Mapping[str, Any] | None = None,
    **memory_options: Any,
) -> tuple[AbstractHermes, Processor]:
    """Load a checkpoint and put a stream on it.

    Args:
        model_path: hub-format folder, hub id, or a key of `MODELS`.
        kv_size: visual tokens per layer.
        streaming: True is `reindex="lazy"`, False `reindex="eager"` (offline benchmarks); default:
            what the data set or the policy says, else lazy.
        device: "cpu", "cuda", "cuda:1", or "auto" to spread layers over all visible GPUs;
            default: a GPU if there is one.
        sample_fps: frames per second that will be fed; default of the family.
        policy: a name in `hermes.POLICIES`, perhaps with options: "two_speed:recent_share=0.3".
        profile: a name in `hermes.PROFILES`.
        dtype: "float16", "bfloat16" or "float32"; default fp16 on a GPU, fp32 on the CPU.
        attn: "auto", "sdpa" or "flash".
        execution: "plain" (the checkpoint's modules one by one: the reference), "fused" (layers in
            few operators), "captured" (answers as CUDA graphs too); "auto" fuses where it can.
        max_pixels: cap on the pixels of a frame (Qwen).
        data_set: fields of `MemoryConfig` that come with the data, e.g. ``{"reindex": "eager"}``;
            unlike what is named here they yield to a policy that is defined otherwise.
        memory_options: any field of `MemoryConfig`.

    Returns:
        (engine, processor), as the release did.

    Raises:
        ModelLoadError: missing, damaged or unknown checkpoint, no such device, attention or
            execution that cannot be had.
        ValueError: a memory option that makes no sense, or contradicts another one or the policy.
    """
    check_policy(policy)
    policy, memory_options = with_policy_text(policy, memory_options)
    profile = memory_options.pop("profile", profile)
    folder = resolve(model_path)
    place = resolve_device(device)
    config = _read_config(folder)
    family = _family(folder, config)
    fps = _positive("sample_fps", sample_fps, family.engine.default_sample_fps)
    memory_config = configure(
        family=family.engine.constants,
        data_set=data_set,
        kv_size=kv_size,
        policy=policy,
        profile=profile,
        **_with_flag(streaming, memory_options),
    )
    pixels = family.pixel_config(_processor_files(folder), config, max_pixels)
    processor = Processor(_tokenizer(folder), pixels)
    model = _weights(folder, family, place, _dtype(dtype, place))
    family.prepare(model)
    engine = family.engine(
        model, processor, memory_config, sample_fps=fps, attn=attn, execution=execution
    )
    return engine, processor


def resolve(model_path: str | Path) -> str:
    """Key or path to a path; a missing local folder is an error, a hub id is passed on."""
    name, key = str(model_path), MODELS.get(str(model_path))
    if key is not None:
        name = key.folder() or key.path
    if Path(name).is_dir():
        return name
    looks_local = name.startswith((".", "/", "~", "models/")) or name.count("/") != 1
    if looks_local:
        entry = entry_of(name)
        advice = "give the folder of one" if entry is None else entry.advice(name)
        raise ModelLoadError(
            f"no checkpoint at {name!r}: {advice}, or give another path, a hub id (owner/name) or "
            f"one of the known keys: {', '.join(MODELS)}"
        )
    return name


def tokens_per_step(model_path: str | Path) -> int | None:
    """Visual tokens of one frame of a local checkpoint, from its config.json alone.

    None where it depends on the frame size, and for a hub id.

    Raises:
        ModelLoadError: missing folder, damaged or unknown checkpoint.
    """
    folder = resolve(model_path)
    if not Path(folder).is_dir():
        return None
    config = _read_config(folder)
    engine: Any = _family(folder, config).engine
    return engine.tokens_per_step(SimpleNamespace(model=SimpleNamespace(config=config)))


def resolve_device(device: str | torch.device | None) -> str:
    """The device to use; asking for CUDA where there is none is an error."""
    has_gpu = torch.cuda.is_available()
    chosen = str(device or ("cuda" if has_gpu else "cpu"))
    if chosen.startswith(("cuda", "auto")) and not has_gpu:
        raise ModelLoadError(f"device {chosen!r} was asked for but torch sees no GPU; use 'cpu'")
    return chosen


def _with_flag(streaming: bool | None, named: Mapping[str, Any]) -> dict[str, Any]:
    """The released flag is another name for `reindex`; both at once have to agree."""
    if streaming is None:
        return dict(named)
    reindex = "lazy" if streaming else "eager"
    if named.get("reindex", reindex) != reindex:
        raise ValueError(
            f"streaming={streaming} is reindex={reindex!r}, but reindex={named['reindex']!r} was "
            "given as well: leave one of them out"
        )
    return {**named, "reindex": reindex}


def _positive(name: str, value: float | None, default: float) -> float:
    if value is None:
        return default
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be a positive number, got {value!r}")
    return value


def _read_config(folder: str) -> Any:
    try:
        return transformers.AutoConfig.from_pretrained(folder)
    except Exception as error:  # huggingface_hub's validation errors are no ValueErrors
        raise ModelLoadError(f"cannot read the configuration of {folder!r}: {error}") from error


def _family(folder: str, config: Any) -> Family:
    if config.model_type not in FAMILIES:
        raise ModelLoadError(
            f"{folder!r} is a {config.model_type!r} checkpoint{_obstacle(config)}; known: "
            f"{', '.join(FAMILIES)}"
        )
    return family_of(config.model_type)


def _obstacle(config: Any) -> str:
    """Why no family could serve a configuration, where that is known."""
    kinds = set(getattr(config.get_text_config(), "layer_types", None) or ()) - {"full_attention"}
    if "linear_attention" not in kinds:
        return ""
    return (
        " with layers of linear attention, which fold all they have read into one state: nothing "
        "can be evicted from it, so no memory policy applies"
    )


def _processor_files(folder: str) -> dict[str, Any]:
    if Path(folder).is_dir():
        return read_processor_file(Path(folder))
    from huggingface_hub import snapshot_download

    return read_processor_file(Path(snapshot_download(folder, allow_patterns=["*.json"])))


def _tokenizer(folder: str) -> Any:
    try:
        return transformers.AutoTokenizer.from_pretrained(folder)
    except Exception as error:  # the tokenizers library raises bare Exception on damaged files
        raise ModelLoadError(f"cannot read the tokenizer of {folder!r}: {error}") from error


def _dtype(dtype: str | torch.dtype | None, device: str) -> torch.dtype:
    if dtype is None:
        return torch.float32 if device == "cpu" else torch.float16
    chosen = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if chosen not in (torch.float16, torch.bfloat16, torch.float32):
        raise ModelLoadError(f"unknown dtype {dtype!r}; known: float16, bfloat16, float32")
    return chosen


def _weights(folder: str, family: Family, device: str, dtype: torch.dtype) -> nn.Module:
    architecture = getattr(transformers, family.architecture)
    try:
        model, info = architecture.from_pretrained(
            folder,
            dtype=dtype,
            device_map="auto" if device == "auto" else {"": device},
            output_loading_info=True,
        )
    except Exception as error:  # safetensors, OS and shape errors alike
        raise ModelLoadError(f"cannot load the weights of {folder!r}: {error}") from error
    tied = {_HEAD} if _is_tied(model) else set()
    if missing := sorted(set(info["missing_keys"]) - tied):
        raise ModelLoadError(
            f"{folder!r} lacks {len(missing)} weights ({', '.join(missing[:3])}, ...): the "
            "checkpoint is incomplete; download it again"
        )
    _refuse_offload(model)
    commit = getattr(model.config, "_commit_hash", None)  # of a hub id, which has no folder
    model.weights_digest = weights_digest(folder) or commit
    return model.eval()


def _is_tied(model: Any) -> bool:
    """Whether the head shares the embeddings' memory; else a missing head would be random."""
    return model.lm_head.weight.data_ptr() == model.get_input_embeddings().weight.data_ptr()


def _refuse_offload(model: nn.Module) -> None:
    placed = getattr(model, "hf_device_map", {})
    away = sorted(name for name, where in placed.items() if str(where) in ("cpu", "disk"))
    if away and len(away) < len(placed):
        raise ModelLoadError(
            f"the GPUs are too small: {len(away)} modules ({', '.join(away[:3])}, ...) would "
            "be offloaded; use more GPUs or a smaller model"
        )
