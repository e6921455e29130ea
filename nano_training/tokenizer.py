"""A byte-level BPE tokenizer whose pre-tokens are words that matter and whole phrases.

Words that can be an answer stay alone; everything between them is one pre-token, so that BPE
merges fixed phrases ("What colour is the", a guidance sentence) into single tokens. Any other
text still works, in smaller pieces.
"""

import copy
import random

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from nano_training.texts import corpus
from video_qa.nanostream.facts import follow
from video_qa.nanostream.questions import TASKS
from video_qa.nanostream.vocabulary import COLOURS, PLACES, SHAPES
from video_qa.nanostream.world import make_world

SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>"]
VOCABULARY_SIZE = 2048
_CONTENT = "|".join((*COLOURS, *SHAPES, *PLACES))
PRE_TOKEN = "|".join(
    (
        rf" (?:{_CONTENT})\b",
        r"\?\nOptions:",
        r"\n\([A-H]\)",
        r"\n?Question:",
        r"\nOnly give the best option\.",
        r"assistant\n(?:Best option: \()?",
        r"(?<=\)) [\w-]+",
        r"(?<=Answer:) [\w-]+",
        r"^ [\w-]+",
        r"^[A-H]\)",
        r" Answer:",
        r"\. ?",
        r"; ",
        r"\n",
    )
)


def _training_texts(seed: int) -> list[str]:
    rng = random.Random(seed)
    watched, drafts = [], []
    for _ in range(60):
        for facts in follow(make_world(rng.getrandbits(48), 48)):
            if facts.second % 6 == 0:
                watched.append(copy.deepcopy(facts))
                drafts += [d for task in TASKS.values() if (d := task(facts, rng))]
    return corpus(rng, watched, drafts)


def train_tokenizer(seed: int) -> PreTrainedTokenizerFast:
    """Train the tokenizer on texts of the benchmark's own questions."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRE_TOKEN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=200,
        show_progress=False,
    )
    tokenizer.train_from_iterator(_training_texts(seed), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>", "<|im_end|>", "<image>", "<video>"],
        clean_up_tokenization_spaces=False,
    )
