"""What decides how large a checkpoint is and how much work a token costs.

Worked out from the shapes that `efficiency.models.shapes` gives with their sources.
"""

from __future__ import annotations

from dataclasses import dataclass

from efficiency.models import shapes

CHUNK_FRAMES = 16
BYTES = 2
BUFFERS = 3
"""Keys, values, and keys rotated to their positions."""


@dataclass(frozen=True)
class Shape:
    """A checkpoint; `width` and what follows is for estimates of work only."""

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


PICTURES = {"llava_onevision": (196, 14), "qwen2_5_vl": (128, 14), "qwen3_vl": (98, 16)}
"""Kind of checkpoint -> tokens per frame and pixels per side of a patch. Qwen at 448 x 448 pixels:
two frames share 256 tokens (28 pixels a side) or 196 (32 pixels)."""


def _of(shape: shapes.Shape) -> Shape:
    text, (tokens, patch) = shape.text, PICTURES[shape.model_type]
    heads, width = text["num_attention_heads"], text["hidden_size"]
    return Shape(
        shape.num_parameters,
        text["num_hidden_layers"],
        text["num_key_value_heads"],
        tokens,
        text.get("head_dim", width // heads),
        width,
        text["intermediate_size"],
        heads,
        text["vocab_size"],
        patch,
        text["tie_word_embeddings"],
    )


SHAPES = {key: _of(shape) for key, shape in shapes.SHAPES.items()}
