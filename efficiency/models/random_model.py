"""A model of the real size and shape with random weights, built on the device itself."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import nn

from efficiency.models.shapes import SHAPES, Shape
from efficiency.models.words import word_tokenizer
from hermes import configure
from inference import AbstractHermes
from inference.checkpoints.processor import Processor
from inference.checkpoints.registry import FAMILIES, family_of


def shape_of(key: str) -> Shape:
    """The shape of a model key.

    Raises:
        ValueError: unknown key.
    """
    if key not in SHAPES:
        raise ValueError(
            f"no shape is known for {key!r}; known: {', '.join(SHAPES)}. Other models need their "
            "checkpoint: leave --random_weights out"
        )
    return SHAPES[key]


def config_of(shape: Shape) -> Any:
    """The configuration in transformers; sizes alone, no tokenizer's ids."""
    kind = transformers.AutoConfig.for_model(shape.model_type).__class__
    return kind(
        text_config=dict(shape.text),
        vision_config=_tower(kind, shape),
        tie_word_embeddings=shape.text["tie_word_embeddings"],
    )


def _tower(kind: Any, shape: Shape) -> Any:
    """Sizes of the vision tower over the defaults of the family, which come with no sizes given."""
    return dict(shape.vision) if shape.vision else kind().vision_config


def build(shape: Shape, device: str | torch.device, dtype: torch.dtype) -> nn.Module:
    """Every weight drawn on `device`, in `dtype`; "meta" draws none and takes no memory."""
    with torch.device(device):
        model = transformers.AutoModelForImageTextToText.from_config(config_of(shape), dtype=dtype)
    return model.eval()


def num_parameters(model: nn.Module) -> int:
    """Parameters, tied ones once."""
    return sum(weight.numel() for weight in model.parameters())


def random_engine(
    shape: Shape,
    device: str | torch.device,
    dtype: torch.dtype,
    *,
    sample_fps: float | None = None,
    attn: str = "auto",
    execution: str = "auto",
    **memory_options: Any,
) -> AbstractHermes:
    """An engine on a random model; its answers mean nothing.

    Args:
        sample_fps: frames per second that will be fed; default of the family.
        memory_options: fields of `MemoryConfig`, `kv_size` among them.

    Raises:
        ValueError: no engine for this kind of model, or a memory option that makes no sense.
    """
    if shape.model_type not in FAMILIES:
        raise ValueError(
            f"no engine serves {shape.model_type!r} models; known: {', '.join(FAMILIES)}"
        )
    family = family_of(shape.model_type)
    model = build(shape, device, dtype)
    family.prepare(model)
    processor = Processor(word_tokenizer(), family.pixel_config({}, model.config, None))
    config = configure(family=family.engine.constants, **memory_options)
    fps = sample_fps or family.engine.default_sample_fps
    return family.engine(model, processor, config, sample_fps=fps, attn=attn, execution=execution)
