"""How many layers one operation takes at a time, so that its working memory stays bounded."""

from __future__ import annotations

from collections.abc import Iterator

MOST_NUMBERS = 2**25
"""Numbers an operation may make at a time: 128 MiB in fp32."""


def layer_blocks(num_layers: int, numbers_per_layer: int) -> Iterator[slice]:
    """Slices that cover the layers; one slice unless the layers are large."""
    size = max(1, MOST_NUMBERS // max(1, numbers_per_layer))
    for first in range(0, num_layers, size):
        yield slice(first, min(first + size, num_layers))
