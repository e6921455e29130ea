"""Freeze traces of this engine on tiny random checkpoints, for a family that was never released.

    python scripts/freeze_golden.py tests/golden_ours

Nobody else's results are in them: they say what this engine did when they were written, so that a
change of results does not go unnoticed. Same form as the traces of the released engines
(scripts/replay.py), reduced in the same way (scripts/shrink_golden.py). Written anew only when
results are meant to change.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from inference import AbstractHermes, load_model
from scripts.replay import MAX_NEW_TOKENS, QUESTION, QUESTION_PERIOD, rows_with_prefix
from scripts.shrink_golden import shrink
from scripts.tiny_checkpoints import save_tiny_checkpoint

SEEDS, KV_SIZE, SAMPLE_FPS = (0, 1), 80, 2.0
NUM_CHUNKS, CHUNK_FRAMES, FRAME_SIZE = 6, 6, 56
MAX_POSITIONS = 700
"""So few that the lazy runs renumber too."""
SMALL = {"hidden_size": 32, "intermediate_size": 64}


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", type=Path, help="folder to write to; it must not hold traces yet")
    target = parser.parse_args(argv).target
    if list(target.glob("*.npz")):
        print(f"error: {target} holds traces already; remove them first", file=sys.stderr)
        return 2
    generator = np.random.default_rng(0)
    size = (NUM_CHUNKS * CHUNK_FRAMES, FRAME_SIZE, FRAME_SIZE, 3)
    frames = generator.integers(0, 256, size, dtype=np.uint8)
    with tempfile.TemporaryDirectory() as scratch:
        for seed in SEEDS:
            folder = Path(scratch) / f"tiny-qwen3-vl-{seed}"
            save_tiny_checkpoint(folder, "qwen3", seed, max_positions=MAX_POSITIONS, **SMALL)
            for mode in ("lazy", "eager"):
                name = f"qwen3_{mode}_kv{KV_SIZE}_seed{seed}.npz"
                np.savez(Path(scratch) / name, **trace(folder, frames, streaming=mode == "lazy"))
        print(f"{shrink(Path(scratch), target)} bytes in {target}")
    return 0


def trace(folder: Path, frames: np.ndarray, *, streaming: bool) -> dict[str, Any]:
    """One run, in the form that `scripts.replay.replay` reads."""
    engine, _ = load_model(
        folder, kv_size=KV_SIZE, streaming=streaming, device="cpu", sample_fps=SAMPLE_FPS
    )
    engine.encode_init_prompt()
    found: dict[str, Any] = {
        "frames": frames,
        "init_ids": engine.processor.encode(engine.init_prompt).numpy(),
        "kv_size": np.array(KV_SIZE),
        "streaming": np.array(streaming),
        "sample_fps": np.array(SAMPLE_FPS),
    }
    answers = []
    for index, chunk in enumerate(np.split(frames, NUM_CHUNKS)):
        engine.encode_video_chunk(chunk)
        if index == 0:
            found |= _states(engine, "first_chunk")
        found |= _step(engine, f"c{index}")
        if index % QUESTION_PERIOD == QUESTION_PERIOD - 1:
            answers.append(_ask(engine, index))
    return {**found, "answers": np.array(answers)}


def _step(engine: AbstractHermes, name: str) -> dict[str, Any]:
    before = engine.memory.num_tokens
    engine.predict_and_compress()
    memory, done = engine.memory, engine.last_compression
    kept = rows_with_prefix(engine, done.kept, before)
    return {
        f"{name}_applied": np.array(done.entered),
        f"{name}_keep": np.concatenate(kept),
        f"{name}_keep_len": np.array([len(rows) for rows in kept]),
        f"{name}_positions": memory.positions[..., : memory.num_tokens].numpy().copy(),
        **_states(engine, name),
    }


def _states(engine: AbstractHermes, name: str) -> dict[str, np.ndarray]:
    """Rotated keys and values, (l, 1, g, n, d)."""
    cache = engine.kv_cache or []
    keys, values = (np.stack([layer[kind].numpy() for layer in cache]) for kind in (0, 1))
    return {f"{name}_k": keys, f"{name}_v": values}


def _ask(engine: AbstractHermes, index: int) -> str:
    body = QUESTION.format(chunk=index)
    prompt = engine.get_prompt(body, mc=True)
    asked = {"question": body, "formatted_question": body, "prompt": prompt}
    answer: str = engine.question_answering(asked, max_new_tokens=MAX_NEW_TOKENS)
    return answer


if __name__ == "__main__":
    sys.exit(main())
