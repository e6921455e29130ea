"""Size and shape of every model key, as plain data, so that a model can be built without a file.

Sources of a row:
  hub      config.json of the named checkpoint on the Hugging Face hub, as published.
  derived  config.json of the backbone on the hub; the vocabulary as transformers' conversion of
           LLaVA-OneVision leaves it: three more tokens, then up to a multiple of 64.
Fields that are not named are the defaults of the configuration class in transformers, which are
those of one checkpoint of the family (the SigLIP tower of LLaVA-OneVision, the towers of
Qwen2.5-VL-7B and of Qwen3-VL-8B).

`num_parameters` was counted on a model of this shape without weights, tied weights once. The hub
says the same of every Qwen checkpoint, and to three digits of LLaVA-OneVision (tests).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Shape:
    """What a checkpoint's config.json says about sizes."""

    model_type: str
    """`model_type` of config.json."""
    text: dict[str, Any]
    vision: dict[str, Any]
    num_parameters: int
    digits: int | None
    """Significant digits of `num_parameters` that the hub confirms; None: all."""
    source: str
    confidence: str
    """high: sizes and exact count agree; medium: sizes agree with a rounded count only."""


_HUB = "hub: config.json and number of parameters of {}"
_DERIVED = "derived: backbone and conversion; rounded number of parameters of {}"


def _text(hidden: int, ffn: int, layers: int, heads: int, groups: int, vocabulary: int) -> dict:
    return {
        "hidden_size": hidden,
        "intermediate_size": ffn,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "vocab_size": vocabulary,
    }


def _llava(name: str, text: dict[str, Any], num_parameters: int, *, tied: bool = False) -> Shape:
    rope = {"rope_type": "default", "rope_theta": 1e6}
    text |= {"rope_parameters": rope, "max_position_embeddings": 32768}
    return Shape(
        "llava_onevision",
        {**text, "tie_word_embeddings": tied},
        {},
        num_parameters,
        3,
        _DERIVED.format(f"llava-hf/llava-onevision-qwen2-{name}-ov-hf"),
        "medium",
    )


def _qwen25(name: str, text: dict[str, Any], num_parameters: int, ffn: int, tied: bool) -> Shape:
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]}
    text |= {"rope_parameters": rope, "max_position_embeddings": 128000}
    vision = {"hidden_size": 1280, "intermediate_size": ffn, "tokens_per_second": 2}
    return Shape(
        "qwen2_5_vl",
        {**text, "tie_word_embeddings": tied},
        {**vision, "out_hidden_size": text["hidden_size"]},
        num_parameters,
        None,
        _HUB.format(f"Qwen/Qwen2.5-VL-{name}-Instruct"),
        "high",
    )


_SMALL_TOWER = {
    "depth": 24,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "deepstack_visual_indexes": [5, 11, 17],
}


def _qwen3(
    name: str, text: dict[str, Any], num_parameters: int, tower: dict[str, Any], tied: bool
) -> Shape:
    rope = {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [24, 20, 20]}
    text |= {"rope_parameters": {**rope, "mrope_interleaved": True}, "head_dim": 128}
    return Shape(
        "qwen3_vl",
        {**text, "max_position_embeddings": 262144, "tie_word_embeddings": tied},
        {**tower, "out_hidden_size": text["hidden_size"]},
        num_parameters,
        None,
        _HUB.format(f"Qwen/Qwen3-VL-{name}-Instruct"),
        "high",
    )


SHAPES: dict[str, Shape] = {
    "llava_ov_0.5b": _llava("0.5b", _text(896, 4864, 24, 14, 2, 152000), 893_675_552, tied=True),
    "llava_ov_7b": _llava("7b", _text(3584, 18944, 28, 28, 4, 152128), 8_030_807_584),
    "llava_ov_72b": _llava("72b", _text(8192, 29568, 80, 64, 8, 152128), 73_181_570_592),
    "qwen2.5_vl_3b": _qwen25(
        "3B", _text(2048, 11008, 36, 16, 2, 151936), 3_754_622_976, 3420, tied=True
    ),
    "qwen2.5_vl_7b": _qwen25(
        "7B", _text(3584, 18944, 28, 28, 4, 152064), 8_292_166_656, 3420, tied=False
    ),
    "qwen2.5_vl_32b": _qwen25(
        "32B", _text(5120, 27648, 64, 40, 8, 152064), 33_452_718_336, 3456, tied=False
    ),
    "qwen3_vl_2b": _qwen3(
        "2B", _text(2048, 6144, 28, 16, 8, 151936), 2_127_532_032, _SMALL_TOWER, tied=True
    ),
    "qwen3_vl_4b": _qwen3(
        "4B", _text(2560, 9728, 36, 32, 8, 151936), 4_437_815_808, _SMALL_TOWER, tied=True
    ),
    "qwen3_vl_8b": _qwen3(
        "8B", _text(4096, 12288, 36, 32, 8, 151936), 8_767_123_696, {}, tied=False
    ),
    "qwen3_vl_32b": _qwen3(
        "32B", _text(5120, 25600, 64, 64, 8, 151936), 33_357_390_064, {}, tied=False
    ),
}
"""Model key -> shape."""
