"""How many queries `live_vlm` has to look at: what it would keep with fewer.

    python scripts/compare_queries.py data/nanostream_demo/test/*.mp4

Streams are watched by hermes-nano with the first of `--max_queries`; at every compression the
choices of the others are compared with what is kept, recent frames, which stay anyway, left out.
Of the 3,136 tokens of a chunk of LLaVA-OneVision 256 queries are 8 % and 64 are 2 %; of the 128
tokens of a chunk of 32 frames here, 10 and 3 are.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from torch import Tensor

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from hermes.memory import StreamMemory
from hermes.policies import POLICIES
from hermes.policies.live_vlm import LiveVlm
from hermes.policy_parts.base import Observer
from hermes.policy_parts.received_attention import received_attention
from inference import load_model
from video import open_video


class Compared(LiveVlm):
    """Notes what it would have kept with other numbers of queries."""

    counts: ClassVar[list[int]]
    overlaps: ClassVar[dict[int, list[float]]] = defaultdict(list)

    def observer(self, memory: StreamMemory, num_new: int) -> Observer | None:
        """Sees what `live_vlm` sees, several times."""
        own, prefix = super().observer(memory, num_new), memory.num_prefix
        if own is None:
            return None
        self._others: dict[int, dict[int, Tensor]] = {count: {} for count in self.counts}

        def observe(layer: int, queries: Tensor, keys: Tensor, scaling: float) -> None:
            own(layer, queries, keys, scaling)
            for count, received in self._others.items():
                received[layer] = received_attention(queries, keys, scaling, count)[prefix:]

        return observe

    def choose(self, memory: StreamMemory, attention: Sequence[Tensor | None]) -> list[Tensor]:
        """Its own choice."""
        kept, own = super().choose(memory, attention), self._received
        older = memory.num_visual - self._recent
        for count, received in self._others.items():
            self._received = received
            other = super().choose(memory, attention)
            for rows, others in zip(kept[0].tolist(), other[0].tolist(), strict=True):
                mine, theirs = ({row for row in part if row < older} for part in (rows, others))
                self.overlaps[count].append(len(mine & theirs) / len(mine))
        self._received = own
        return kept


def main() -> int:
    """Watch, compare, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("videos", nargs="+", type=Path, help="video files")
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "hermes-nano")
    parser.add_argument("--max_queries", type=int, nargs="+", default=[128, 20, 10, 5, 3, 1])
    parser.add_argument("--kv_size", type=int, default=128)
    parser.add_argument("--chunk", type=int, default=32, help="frames")
    arguments = parser.parse_args()
    watched, *Compared.counts = arguments.max_queries
    POLICIES["live_vlm"] = Compared
    engine, _ = load_model(
        arguments.model,
        policy="live_vlm",
        policy_options={"max_queries": watched},
        kv_size=arguments.kv_size,
        chunk_frames=arguments.chunk,
        sample_fps=1,
        device="cpu",
    )
    for video in arguments.videos:
        engine.clear_cache()
        with open_video(video, 1, chunk_frames=arguments.chunk) as stream:
            for chunk in stream.take():
                engine.encode_video_chunk(chunk.frames, chunk.times_seconds)
                engine.predict_and_compress()
    for count, overlaps in Compared.overlaps.items():
        mean = 100 * sum(overlaps) / len(overlaps)
        print(f"{count:4d} of {watched} queries: {mean:.1f} % of the older tokens are the same")
    return 0


if __name__ == "__main__":
    sys.exit(main())
