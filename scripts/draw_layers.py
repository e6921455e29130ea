"""docs/memory_layers.svg: which tokens of a stream each band of layers still holds.

    python scripts/draw_layers.py

A drawing, not a measurement: every row is a layer with the same budget, scored by `hermes.layout`
and the formulas of the method on an attention that is made up, one anchor per frame.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from hermes.config import MemoryConfig
from hermes.layout import Band, MemoryLayout
from hermes.scores.importance import blend, recency

TARGET = Path(__file__).resolve().parent.parent / "docs" / "memory_layers.svg"
NUM_LAYERS, NUM_FRAMES, TOKENS_PER_FRAME = 10, 24, 4
KEPT = 28
WIDTH, LEFT, TOP, STEP, ROW = 860, 186, 62, 6.6, 19
NAMES = {
    Band.SENSORY: ("sensory", "the last moments"),
    Band.WORKING: ("working", "a blend of both"),
    Band.LONG_TERM: ("long-term", "anchors of the whole past"),
}
STYLE = """
  .card { fill: #ffffff; stroke: #d0d4da } .text { fill: #1f2329 } .quiet { fill: #59616b }
  .gone { fill: #e3e6ea } .sensory { fill: #c2410c } .working { fill: #7c3aed }
  .long-term { fill: #0f766e } .axis { stroke: #59616b }
  text { font: 13px system-ui, sans-serif } .small { font-size: 12px } .title { font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    .card { fill: #161b22; stroke: #3d444d } .text { fill: #e6edf3 } .quiet { fill: #a5aeb8 }
    .gone { fill: #2f353d } .sensory { fill: #fb923c } .working { fill: #b794ff }
    .long-term { fill: #2dd4bf } .axis { stroke: #a5aeb8 }
  }
"""


def kept_tokens() -> list[set[int]]:
    """Per layer, from below, the tokens that stay."""
    config = MemoryConfig(kv_size=KEPT, working_recency_weight=(0.75, 0.15))
    layout = MemoryLayout.from_config(NUM_LAYERS, config)
    num_tokens = NUM_FRAMES * TOKENS_PER_FRAME
    anchors = torch.zeros(num_tokens)
    anchors[::TOKENS_PER_FRAME] = 1.0
    noise = torch.rand(NUM_LAYERS, num_tokens, generator=torch.Generator().manual_seed(4))
    rows = []
    for layer in range(NUM_LAYERS):
        weight, decay = layout.recency(layer, config)
        score = blend(
            (anchors + 0.35 * noise[layer])[None],
            torch.tensor([[weight]], dtype=torch.float64),
            recency(num_tokens, decay)[None],
            config.min_max_epsilon,
        )
        rows.append(set(score[0].topk(KEPT).indices.tolist()))
    return rows


def draw() -> str:
    """The whole file."""
    layout = MemoryLayout.from_config(NUM_LAYERS, MemoryConfig(kv_size=KEPT))
    bottom = TOP + NUM_LAYERS * ROW
    parts = [f'<rect class="card" x="1" y="1" width="{WIDTH - 2}" height="{bottom + 66}" rx="10"/>']
    parts.append(_text(20, 28, "What each layer still holds of a stream", "text title"))
    parts.append(
        _text(
            20,
            47,
            "a row is a layer, a mark a visual token; all layers hold equally many",
            "quiet small",
        )
    )
    for layer, kept in enumerate(kept_tokens()):
        y = bottom - (layer + 1) * ROW
        name = NAMES[layout.band(layer)][0]
        for token in range(NUM_FRAMES * TOKENS_PER_FRAME):
            kind = name if token in kept else "gone"
            x = LEFT + token * STEP
            parts.append(f'<rect class="{kind}" x="{x:.1f}" y="{y}" width="5" height="13" rx="1"/>')
    for band, (name, what) in NAMES.items():
        own = [layer for layer in range(NUM_LAYERS) if layout.band(layer) is band]
        middle = bottom - (own[0] + len(own) / 2) * ROW
        up = 0 if len(own) > 1 else 5
        parts.append(_text(20, middle - up + (0 if len(own) > 1 else 3), name, f"{name} title"))
        parts.append(_text(20, middle + 16 - up, what, "quiet small"))
    parts += _time_axis(bottom + 12)
    height = bottom + 68
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
    label = "Shallow layers keep the newest tokens, deep layers one anchor per frame, middle both"
    return "\n".join(
        [f'{head} aria-label="{label}">', f"<style>{STYLE}</style>", *parts, "</svg>\n"]
    )


def _time_axis(y: float) -> list[str]:
    right = LEFT + NUM_FRAMES * TOKENS_PER_FRAME * STEP
    arrow = f"M {LEFT} {y} H {right} m -6 -4 l 6 4 l -6 4"
    return [
        f'<path class="axis" d="{arrow}" fill="none"/>',
        _text(LEFT, y + 19, "stream begins", "quiet small"),
        _text(right, y + 19, "now: any question", "quiet small", "end"),
        _text(
            LEFT,
            y + 38,
            "evicted tokens of long-term layers live on in a summary token",
            "quiet small",
        ),
    ]


def _text(x: float, y: float, words: str, kind: str, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y:.0f}" class="{kind}" text-anchor="{anchor}">{words}</text>'


if __name__ == "__main__":
    TARGET.write_text(draw(), encoding="utf-8")
    print(TARGET)
