"""The table of sizes in models/README.md, computed: weights at 16 bit, and memory of the stream.

    python scripts/model_memory.py

Parameters and shapes are those of the published configurations; parameters were counted on
transformers' models built from them without weights. A token costs keys, values and rotated keys
in every layer; the buffers hold the budget and one chunk of 16 frames. Activations and the CUDA
context come on top.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from inference.models import MODELS

KV_SIZES = (4000, 6000)
CHUNK_FRAMES = 16
BYTES = 2
BUFFERS = 3
"""Keys, values, and keys rotated to their positions."""


@dataclass(frozen=True)
class Shape:
    """What decides a model's size."""

    num_parameters: int
    num_layers: int
    num_kv_heads: int
    tokens_per_frame: int
    head_dim: int = 128

    @property
    def weight_bytes(self) -> int:
        return BYTES * self.num_parameters

    def stream_bytes(self, kv_size: int) -> int:
        """Of one stream at its fullest, one chunk beyond the budget."""
        num_tokens = kv_size + CHUNK_FRAMES * self.tokens_per_frame
        width = self.num_kv_heads * self.head_dim
        return BUFFERS * BYTES * self.num_layers * width * num_tokens


QWEN_TOKENS, QWEN3_TOKENS = 128, 98
"""Per frame of 448 x 448 pixels; two frames share 256 (28 pixels a side) and 196 (32 pixels)."""
SHAPES = {
    "llava_ov_0.5b": Shape(893_675_552, 24, 2, 196, head_dim=64),
    "llava_ov_7b": Shape(8_030_807_584, 28, 4, 196),
    "llava_ov_72b": Shape(73_180_522_016, 80, 8, 196),
    "qwen2.5_vl_3b": Shape(3_754_622_976, 36, 2, QWEN_TOKENS),
    "qwen2.5_vl_7b": Shape(8_292_166_656, 28, 4, QWEN_TOKENS),
    "qwen2.5_vl_32b": Shape(33_452_718_336, 64, 8, QWEN_TOKENS),
    "qwen3_vl_2b": Shape(2_127_532_032, 28, 8, QWEN3_TOKENS),
    "qwen3_vl_4b": Shape(4_437_815_808, 36, 8, QWEN3_TOKENS),
    "qwen3_vl_8b": Shape(8_767_123_696, 36, 8, QWEN3_TOKENS),
    "qwen3_vl_32b": Shape(33_357_390_064, 64, 8, QWEN3_TOKENS),
}


def rows() -> list[str]:
    """One row per model that has a key: weights, stream at each budget, weights and stream."""
    lines = []
    for key, shape in ((key, SHAPES[key]) for key in MODELS if key in SHAPES):
        streams = [shape.stream_bytes(size) for size in KV_SIZES]
        cells = [shape.weight_bytes, *(shape.weight_bytes + stream for stream in streams)]
        gpus = MODELS[key].num_devices
        sizes = " | ".join(f"{cell / 1e9:.1f} GB" for cell in cells)
        stream = " / ".join(f"{stream / 1e9:.2f}" for stream in streams)
        lines.append(f"| `{key}` | {sizes} | {stream} GB | {gpus} x 80 GB |")
    return lines


if __name__ == "__main__":
    print("\n".join(rows()))
