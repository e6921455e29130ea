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
    (LLaVA) or frame pair (Qwen), character-level tokenizer.

    Args:
        family: a key of `BUILDERS`.
        max_positions: the model's position limit.
        attention_scale: factor on the query and key projections. Freshly initialised attention is
            nearly uniform, and an error in a position would not show.
        text_options: other fields of the text configuration.

    Returns:
        The folder.

    Raises:
        ValueError: unknown family.
    """
    if family not in BUILDERS:
        raise ValueError(f"unknown family {family!r}; known: {', '.join(BUILDERS)}")
    torch.manual_seed(seed)
    vocabulary = {token: index for index, token in enumerate([*CHARACTERS, *SPECIAL_TOKENS])}
    text = {**_TEXT, "vocab_size": len(vocabulary), "max_position_embeddings": max_positions}
    model: Any = BUILDERS[family]({**text, **text_options}, vocabulary)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "language_model" in name and ("q_proj.weight" in name or "k_proj.weight" in name):
                weight.mul_(attention_scale)
    target = Path(folder)
    model.save_pretrained(target)
    _tokenizer(vocabulary).save_pretrained(target)
    pixels = {
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "size": {"height": FRAME_SIZE, "width": FRAME_SIZE},
    }
    if family == "llava":
        (target / "preprocessor_config.json").write_text(json.dumps(pixels, indent=2))
    return target


def _tokenizer(vocabulary: dict[str, int]) -> transformers.PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        unk_token="<unk>",
        additional_special_tokens=list(SPECIAL_TOKENS[2:]),
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


BUILDERS = {"llava": _llava, "qwen": _qwen}


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
