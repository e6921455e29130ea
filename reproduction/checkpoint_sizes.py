"""What decides how large a checkpoint is and how much work a token costs.

Parameters were counted on transformers' models built from the published configurations without
weights; the other numbers are those configurations' own.
"""

from __future__ import annotations

from dataclasses import dataclass

CHUNK_FRAMES = 16
BYTES = 2
BUFFERS = 3
"""Keys, values, and keys rotated to their positions."""


@dataclass(frozen=True)
class Shape:
    """A checkpoint; `width` and what follows is needed for estimates of work only."""

    num_parameters: int
    num_layers: int
    num_kv_heads: int
    tokens_per_frame: int
    head_dim: int = 128
    width: int = 0
    inner_width: int = 0
    num_heads: int = 0
    vocabulary: int = 0
    patch: int = 14
    """Pixels per side; four patches make a token."""
    tied: bool = False

    @property
    def weight_bytes(self) -> int:
        return BYTES * self.num_parameters

    @property
    def layer_parameters(self) -> int:
        """Of all decoder layers together, norms left out."""
        attention = 2 * self.width * self.head_dim * (self.num_heads + self.num_kv_heads)
        return self.num_layers * (attention + 3 * self.width * self.inner_width)

    @property
    def tower_parameters(self) -> int:
        """Vision tower and projector: what is neither layers nor embeddings."""
        embeddings = self.vocabulary * self.width * (1 if self.tied else 2)
        return self.num_parameters - self.layer_parameters - embeddings

    def stream_bytes(self, kv_size: int, chunk_tokens: float | None = None) -> int:
        """Of one stream at its fullest, one chunk beyond the budget."""
        if chunk_tokens is None:
            chunk_tokens = CHUNK_FRAMES * self.tokens_per_frame
        width = self.num_kv_heads * self.head_dim
        return int(BUFFERS * BYTES * self.num_layers * width * (kv_size + chunk_tokens))


QWEN_TOKENS, QWEN3_TOKENS = 128, 98
"""Per frame of 448 x 448 pixels; two frames share 256 (28 pixels a side) and 196 (32 pixels)."""
SHAPES = {
    "llava_ov_0.5b": Shape(893_675_552, 24, 2, 196, 64, 896, 4864, 14, 151936, tied=True),
    "llava_ov_7b": Shape(8_030_807_584, 28, 4, 196, 128, 3584, 18944, 28, 152064),
    "llava_ov_72b": Shape(73_180_522_016, 80, 8, 196, 128, 8192, 29568, 64, 152064),
    "qwen2.5_vl_3b": Shape(
        3_754_622_976, 36, 2, QWEN_TOKENS, 128, 2048, 11008, 16, 151936, tied=True
    ),
    "qwen2.5_vl_7b": Shape(8_292_166_656, 28, 4, QWEN_TOKENS, 128, 3584, 18944, 28, 152064),
    "qwen2.5_vl_32b": Shape(33_452_718_336, 64, 8, QWEN_TOKENS, 128, 5120, 27648, 40, 152064),
    "qwen3_vl_2b": Shape(
        2_127_532_032, 28, 8, QWEN3_TOKENS, 128, 2048, 6144, 16, 151936, 16, tied=True
    ),
    "qwen3_vl_4b": Shape(
        4_437_815_808, 36, 8, QWEN3_TOKENS, 128, 2560, 9728, 32, 151936, 16, tied=True
    ),
    "qwen3_vl_8b": Shape(8_767_123_696, 36, 8, QWEN3_TOKENS, 128, 4096, 12288, 32, 151936, 16),
    "qwen3_vl_32b": Shape(33_357_390_064, 64, 8, QWEN3_TOKENS, 128, 5120, 25600, 64, 151936, 16),
}
