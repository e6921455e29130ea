"""Tiny random checkpoints in hub format, for tests, the smoke run and benchmarks without weights.

    python -m scripts.tiny_checkpoints models/tiny-llava --family llava

Random weights answer at chance; nothing about a method can be read off their answers.
"""

from __future__ import annotations

import argparse
import json
import string
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

CHARACTERS = string.printable[:95] + "\n"
SPECIAL_TOKENS = (
    "<unk>",
    "<|im_end|>",
    "<|im_start|>",
    "<image>",
    "<video>",
    "<|vision_start|>",
    "<|vision_end|>",
)
WORDS = {"qwen3": (" seconds>",), "qwen3_moe": (" seconds>",)}
"""Family -> what is one token beyond characters and special tokens, as in its own tokenizer."""
FRAME_SIZE = 56
_TEXT: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 10,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "tie_word_embeddings": False,
    "bos_token_id": None,
    "eos_token_id": None,
}


def save_tiny_checkpoint(
    folder: str | Path,
    family: str = "llava",
    seed: int = 0,
    *,
    max_positions: int = 32768,
    attention_scale: float = 10.0,
    **text_options: Any,
) -> Path:
    """Write a random checkpoint: 10 decoder layers, 56 x 56 frames, 4 visual tokens per frame
    (LLaVA) or frame pair (Qwen2.5-VL), 16 per frame pair (Qwen3-VL), character-level tokenizer.

    Args:
        family: a key of `BUILDERS`.
        max_positions: the model's position limit.
        attention_scale: factor on the query and key projections. Freshly initialised attention is
            nearly uniform, and an error in a position would not show. Norms of queries and keys
            undo it; their weights become 1.5.
        text_options: other fields of the text configuration.

    Returns:
        The folder.

    Raises:
        ValueError: unknown family.
    """
    if family not in BUILDERS:
        raise ValueError(f"unknown family {family!r}; known: {', '.join(BUILDERS)}")
    torch.manual_seed(seed)
    words = WORDS.get(family, ())
    tokens = [*CHARACTERS, *SPECIAL_TOKENS, *words]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    text = {**_TEXT, "vocab_size": len(vocabulary), "max_position_embeddings": max_positions}
    model: Any = BUILDERS[family]({**text, **text_options}, vocabulary)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "language_model" in name and ("q_proj.weight" in name or "k_proj.weight" in name):
                weight.mul_(attention_scale)
            elif "language_model" in name and ("q_norm" in name or "k_norm" in name):
                weight.mul_(1.5)
    target = Path(folder)
    model.save_pretrained(target)
    _tokenizer(vocabulary, words).save_pretrained(target)
    pixels: dict[str, Any] = {
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "size": {"height": FRAME_SIZE, "width": FRAME_SIZE},
    }
    if family == "llava":
        (target / "preprocessor_config.json").write_text(json.dumps(pixels, indent=2))
    if words:
        pixels["size"] = {"shortest_edge": 4096, "longest_edge": 25165824}
        (target / "video_preprocessor_config.json").write_text(json.dumps(pixels, indent=2))
    return target


def _tokenizer(
    vocabulary: dict[str, int], words: tuple[str, ...]
) -> transformers.PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        unk_token="<unk>",
        additional_special_tokens=[*SPECIAL_TOKENS[2:], *words],
        clean_up_tokenization_spaces=False,
    )


def _llava(text: dict[str, Any], vocabulary: dict[str, int]) -> torch.nn.Module:
    config = transformers.LlavaOnevisionConfig(
        text_config=transformers.Qwen2Config(**text),
        vision_config=transformers.SiglipVisionConfig(
            hidden_size=48,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=4,
            image_size=FRAME_SIZE,
            patch_size=14,
            vision_use_head=False,
        ),
        image_token_index=vocabulary["<image>"],
        video_token_index=vocabulary["<video>"],
        tie_word_embeddings=False,
    )
    return transformers.LlavaOnevisionForConditionalGeneration(config)


def _qwen(text: dict[str, Any], vocabulary: dict[str, int]) -> torch.nn.Module:
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}
    config = transformers.Qwen2_5_VLConfig(
        text_config={**text, "rope_parameters": rope},
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "window_size": 56,
            "fullatt_block_indexes": [1],
            "out_hidden_size": text["hidden_size"],
            "tokens_per_second": 2,
        },
        image_token_id=vocabulary["<image>"],
        video_token_id=vocabulary["<video>"],
        vision_start_token_id=vocabulary["<|vision_start|>"],
        vision_end_token_id=vocabulary["<|vision_end|>"],
        tie_word_embeddings=False,
    )
    return transformers.Qwen2_5_VLForConditionalGeneration(config)


def _qwen3(text: dict[str, Any], vocabulary: dict[str, int]) -> torch.nn.Module:
    return transformers.Qwen3VLForConditionalGeneration(
        transformers.Qwen3VLConfig(text_config=_stepped(text), **_deepstacked(text, vocabulary))
    )


def _qwen3_moe(text: dict[str, Any], vocabulary: dict[str, int]) -> torch.nn.Module:
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
    return transformers.Qwen3VLMoeForConditionalGeneration(
        transformers.Qwen3VLMoeConfig(
            text_config={**_stepped(text), **experts}, **_deepstacked(text, vocabulary)
        )
    )


def _stepped(text: dict[str, Any]) -> dict[str, Any]:
    rope = {
        "rope_type": "default",
        "rope_theta": 10000.0,
        "mrope_section": [4, 2, 2],
        "mrope_interleaved": True,
    }
    return {**text, "head_dim": 16, "rope_parameters": rope}


def _deepstacked(text: dict[str, Any], vocabulary: dict[str, int]) -> dict[str, Any]:
    """Vision tower, its taps, and token numbers."""
    return {
        "vision_config": {
            "depth": 3,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "patch_size": 7,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "num_position_embeddings": 16,
            "out_hidden_size": text["hidden_size"],
            "deepstack_visual_indexes": [0, 1],
        },
        "image_token_id": vocabulary["<image>"],
        "video_token_id": vocabulary["<video>"],
        "vision_start_token_id": vocabulary["<|vision_start|>"],
        "vision_end_token_id": vocabulary["<|vision_end|>"],
        "tie_word_embeddings": False,
    }


BUILDERS = {"llava": _llava, "qwen": _qwen, "qwen3": _qwen3, "qwen3_moe": _qwen3_moe}


def main(argv: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="Write a tiny random checkpoint in hub format.")
    parser.add_argument("folder", type=Path, help="where to write it")
    parser.add_argument("--family", choices=sorted(BUILDERS), default="llava")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    print(save_tiny_checkpoint(options.folder, options.family, options.seed))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
