"""The shipped miniature: its size and its trained range."""

import json
from pathlib import Path

from safetensors import safe_open

from nano_training.checkpoint import MAX_POSITIONS

FOLDER = Path(__file__).resolve().parents[1] / "models" / "hermes-nano"


def test_size_and_range():
    with safe_open(FOLDER / "model.safetensors", "pt") as weights:
        shapes = [weights.get_slice(name).get_shape() for name in weights.keys()]  # noqa: SIM118
    parameters = 0
    for shape in shapes:
        product = 1
        for size in shape:
            product *= size
        parameters += product
    assert parameters <= 5_000_000
    assert sum(f.stat().st_size for f in FOLDER.iterdir()) <= 12_000_000
    config = json.loads((FOLDER / "config.json").read_text())
    assert config["text_config"]["max_position_embeddings"] == MAX_POSITIONS
