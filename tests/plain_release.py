"""The released method for LLaVA written down again, as plainly as it goes, for open dialogues.

Offline renumbering only. Keys are kept rotated and turned again when positions change, every layer
is a pair of arrays, all numbers are float64, the checkpoint's weights are read by name: nothing of
ours is used but the visual features (tested on their own). `python tests/plain_release.py FOLDER`
(from the repository root; FOLDER is the unpacked tiny-llava-onevision-0) writes the stored trace.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

TRACE = Path(__file__).resolve().parent / "dialogue_trace.json"
KV_SIZE, CHUNK_FRAMES, NUM_CHUNKS, NEW_TOKENS = 48, 8, 6, 12
QUESTIONS = {2: "What is at 0?", 3: "Who came in?", 4: "Who came in?"}
"""Number of the chunk after which it is asked -> question; each steers one of the last prunings."""
INIT = "<|im_start|>system \nYou are a helpful assistant.<|im_end|><|im_start|>user "
LOCAL = (
    "Describe the current scene in detail, focusing on specific objects, fine-grained actions, "
    "and spatial relationships."
)
GLOBAL = (
    "Summarize the video narrative, identifying main characters, key events, timeline changes, "
    "and the overall theme."
)
CLEAN = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def scale(x: np.ndarray) -> np.ndarray:
    return (x - x.min()) / (x.max() - x.min() + 1e-6)


class PlainRelease:
    """One stream; `keys[l]`, `values[l]` are (tokens, kv heads, width), `positions[l]` a list."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        text = model.config.get_text_config()
        self.tokenizer, self.eps = tokenizer, text.rms_norm_eps
        self.heads, self.groups = text.num_attention_heads, text.num_key_value_heads
        self.layers = text.num_hidden_layers
        self.weights = {
            name.removeprefix("model.language_model."): weight.detach().double().numpy()
            for name, weight in model.state_dict().items()
            if "vision" not in name
        }
        self.width = self.weights["layers.0.self_attn.k_proj.weight"].shape[0] // self.groups
        theta = text.rope_parameters["rope_theta"]
        self.frequencies = theta ** (-np.arange(0, self.width, 2) / self.width)
        empty = np.zeros((0, self.groups, self.width))
        self.keys = [empty] * self.layers
        self.values = [empty] * self.layers
        self.positions: list[list[int]] = [[] for _ in range(self.layers)]
        self.history: list[tuple[str, str]] = []
        self.read(self.embed(INIT))
        self.prefix = len(self.positions[0])

    def embed(self, text: str) -> np.ndarray:
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return self.weights["embed_tokens.weight"][ids]

    def norm(self, name: str, x: np.ndarray) -> np.ndarray:
        return self.weights[name] * x / np.sqrt((x * x).mean(-1, keepdims=True) + self.eps)

    def linear(self, name: str, x: np.ndarray) -> np.ndarray:
        y = x @ self.weights[f"{name}.weight"].T
        return y + self.weights[f"{name}.bias"] if f"{name}.bias" in self.weights else y

    def rotate(self, x: np.ndarray, by: np.ndarray) -> np.ndarray:
        """(tokens, heads, width) turned by so many positions each."""
        angle = np.outer(by, self.frequencies)[:, None]
        a, b = np.split(x, 2, axis=-1)
        return np.concatenate(
            (a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)), -1
        )

    def project(self, layer: int, x: np.ndarray, what: str, at: np.ndarray | None) -> np.ndarray:
        normed = self.norm(f"layers.{layer}.input_layernorm.weight", x)
        y = self.linear(f"layers.{layer}.self_attn.{what}_proj", normed)
        y = y.reshape(len(x), -1, self.width)
        return y if at is None else self.rotate(y, at)

    def attend(self, queries: np.ndarray, keys: np.ndarray, causal: bool) -> np.ndarray:
        """(heads, queries, keys) probabilities."""
        repeated = keys.repeat(self.heads // self.groups, axis=1)
        logits = np.einsum("qhd,khd->hqk", queries, repeated) / np.sqrt(self.width)
        if causal:
            new, total = logits.shape[1:]
            logits = np.where(np.tri(new, total, total - new, dtype=bool), logits, -np.inf)
        return softmax(logits)

    def next(self, layer: int, count: int) -> np.ndarray:
        return max(self.positions[layer], default=-1) + 1 + np.arange(count)

    def read(self, x: np.ndarray) -> np.ndarray:
        """Append tokens to every layer; logits of the last one."""
        for layer in range(self.layers):
            at, name = self.next(layer, len(x)), f"layers.{layer}"
            queries = self.project(layer, x, "q", at)
            new = self.project(layer, x, "k", at), self.project(layer, x, "v", None)
            self.keys[layer] = np.concatenate((self.keys[layer], new[0]))
            self.values[layer] = np.concatenate((self.values[layer], new[1]))
            self.positions[layer] = [*self.positions[layer], *at]
            seen = self.values[layer].repeat(self.heads // self.groups, axis=1)
            mixed = np.einsum("hqk,khd->qhd", self.attend(queries, self.keys[layer], True), seen)
            x = x + self.linear(f"{name}.self_attn.o_proj", mixed.reshape(len(x), -1))
            y = self.norm(f"{name}.post_attention_layernorm.weight", x)
            gate = self.linear(f"{name}.mlp.gate_proj", y)
            up = self.linear(f"{name}.mlp.up_proj", y)
            x = x + self.linear(f"{name}.mlp.down_proj", gate / (1 + np.exp(-gate)) * up)
        return self.linear("lm_head", self.norm("norm.weight", x[-1]))

    def guidance(self) -> tuple[str, str]:
        if not self.history:
            return LOCAL, GLOBAL
        question, answer = self.history[-1]
        spoken = "Question: " + question + " Answer: " + re.sub(r"[A-Z]\) ", "", answer)
        return (
            f"Find recent details related to: {spoken}. {LOCAL}",
            f"Context summary: {spoken}. {GLOBAL}",
        )

    def score(self) -> list[np.ndarray]:
        """Released constants for LLaVA (section 5.12 of the facts)."""
        local, overall = self.guidance()
        texts = {"short": local, "mid": f"{local}; {overall}", "long": overall}
        first_mid, first_long = int(0.1 * self.layers), self.layers - int(0.3 * self.layers)
        bands = [
            "short" if i < first_mid else "mid" if i < first_long else "long"
            for i in range(self.layers)
        ]
        raw = []
        for layer, band in enumerate(bands):
            x = self.embed(texts[band])
            at = self.next(layer, len(x))
            keys = np.concatenate((self.keys[layer], self.project(layer, x, "k", at)))
            weights = self.attend(self.project(layer, x, "q", at), keys, causal=False)
            seen = weights.mean(axis=(0, 1))[self.prefix : len(self.keys[layer])]
            p = (layer - first_mid) / (first_long - first_mid)
            alpha, k = {"short": (1, 20), "mid": (1 - 0.9 * p, 20 - 19.5 * p), "long": (0, 0)}[band]
            recency = np.exp(-k * (1 - np.arange(len(seen)) / (len(seen) - 1)))
            raw.append((1 - alpha) * scale(seen) + alpha * scale(recency))
        for layer in range(self.layers - 2, -1, -1):
            gamma = {"short": 0.1, "mid": 0.3, "long": 0.4}[bands[layer]]
            raw[layer] = (1 - gamma) * raw[layer] + gamma * raw[layer + 1]
        return raw

    def compress(self) -> list[list[int]]:
        """Prune every layer to its budget; the visual tokens that stay."""
        visual = len(self.keys[0]) - self.prefix
        if visual <= KV_SIZE - 1:
            return [list(range(visual))] * self.layers
        kept = []
        for layer, scores in enumerate(self.score()):
            deep = layer >= self.layers - int(0.3 * self.layers)
            chosen = np.sort(np.argsort(-scores)[: KV_SIZE - deep])
            self.shrink(layer, chosen, deep and len(chosen) < visual)
            kept.append(chosen.tolist())
        return kept

    def shrink(self, layer: int, chosen: np.ndarray, fold: bool) -> None:
        rows = [*range(self.prefix), *(self.prefix + chosen)]
        gone = sorted(set(range(len(self.keys[layer]))) - set(rows))
        at, count = np.array(self.positions[layer]), len(rows)
        keys = self.rotate(self.keys[layer][rows], np.arange(count) - at[rows])
        values = self.values[layer][rows]
        if fold:
            moved = self.rotate(self.keys[layer][gone], count - at[gone])
            keys = np.concatenate((keys, moved.mean(0, keepdims=True)))
            values = np.concatenate((values, self.values[layer][gone].mean(0, keepdims=True)))
        self.keys[layer], self.values[layer] = keys, values
        self.positions[layer] = list(range(len(keys)))

    def ask(self, question: str, new_tokens: int) -> None:
        """Greedy with a penalty of 1.1 on what was said; the cache is cut back afterwards."""
        before = [list(self.keys), list(self.values), list(self.positions)]
        logits = self.read(self.embed(f"\n{question}<|im_end|><|im_start|>assistant\n"))
        said: list[int] = []
        while True:
            for token in set(said):
                logits[token] *= 1.1 if logits[token] < 0 else 1 / 1.1
            said.append(int(logits.argmax()))
            if said[-1] == self.tokenizer.eos_token_id or len(said) == new_tokens:
                break
            logits = self.read(self.weights["embed_tokens.weight"][said[-1:]])
        self.keys, self.values, self.positions = before
        answer = self.tokenizer.decode(said, skip_special_tokens=True)
        for spaced in CLEAN:
            answer = answer.replace(spaced, spaced.strip())
        self.history.append((question, answer))


def run(plain: PlainRelease, features: list[np.ndarray]) -> dict[str, Any]:
    """The whole dialogue."""
    kept, guidance = [], []
    for index, chunk in enumerate(features):
        plain.read(chunk)
        guidance.append(plain.guidance())
        kept.append(plain.compress())
        if index in QUESTIONS:
            plain.ask(QUESTIONS[index], NEW_TOKENS)
    return {"history": plain.history, "guidance": guidance, "kept": kept}


def open_engine(folder: Any) -> Any:
    """An engine on the checkpoint; its random model says spaces where it likes to say "_"."""
    import torch

    from inference import load_model

    engine, processor = load_model(
        folder, kv_size=KV_SIZE, device="cpu", sample_fps=1, streaming=False
    )
    ids = processor.tokenizer(" _", add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        weight = engine.model.lm_head.weight
        weight[ids] = weight[ids[::-1]]
    return engine


def features_of(engine: Any) -> list[np.ndarray]:
    """The visual tokens of the trace's video, chunk by chunk."""
    from independent import embed_frames
    from tiny import random_frames

    chunks = np.split(random_frames(NUM_CHUNKS * CHUNK_FRAMES, seed=9), NUM_CHUNKS)
    return [embed_frames(engine, chunk).double().numpy() for chunk in chunks]


def main(folder: str) -> None:
    """Write the stored trace."""
    engine = open_engine(folder)
    plain = PlainRelease(engine.model, engine.processor.tokenizer)
    TRACE.write_text(json.dumps(run(plain, features_of(engine))) + "\n")


if __name__ == "__main__":
    sys.path.insert(0, str(TRACE.parent.parent))
    main(sys.argv[1])
