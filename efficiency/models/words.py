"""A tokenizer that needs no file: a token per word or mark, about as many as that of Qwen gives."""

from __future__ import annotations

import re

import transformers
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

from inference.answers.prompts import guidance_texts

_PIECES = r" ?\w+| ?[^\w\s]|\s+"
_SPECIAL = ("<unk>", "<|im_end|>", "<|im_start|>")
_OTHERS = "system user assistant You are a helpful assistant what is happening now and then"
FILLER = " what is happening now and then" * 400
"""Text from which questions of any length are cut."""


def word_tokenizer() -> transformers.PreTrainedTokenizerFast:
    """Words of the prompts and some others; what is not among them is one unknown token each."""
    texts = " ".join([*guidance_texts().values(), _OTHERS])
    pieces = {piece for text in (texts, f" {texts}") for piece in re.findall(_PIECES, text)}
    vocabulary = {piece: i for i, piece in enumerate([*_SPECIAL, *sorted(pieces), " \n", "\n"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_PIECES), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        unk_token="<unk>",
        additional_special_tokens=["<|im_start|>"],
        clean_up_tokenization_spaces=False,
    )
