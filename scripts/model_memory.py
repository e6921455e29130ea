"""The table of sizes in models/README.md, computed: weights at 16 bit, and memory of the stream.

    python scripts/model_memory.py

Parameters and shapes stand in `efficiency/models/shapes.py`. A token costs
keys, values and rotated keys in every layer; the buffers hold the budget and one chunk of 16
frames. Activations and the CUDA context come on top.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from inference.checkpoints.models import MODELS
from reproduction.checkpoint_sizes import SHAPES

KV_SIZES = (4000, 6000)


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
