"""Shrink golden traces and their checkpoints to what the tests need, and unpack them again.

python scripts/shrink_golden.py GOLDEN_DIR tests/golden

Weights: the bytes of equal significance are put side by side, then xz (lossless). Frames: shared by
all traces, stored once. Traces: kept indices, positions and answers of every step; keys and values
only of the layers in `state_layers`, and only after the first and the last chunk.
"""

from __future__ import annotations

import argparse
import lzma
import shutil
import sys
from pathlib import Path

import numpy as np

STATE_LAYERS = (4, 9)
"""A working and the last long-term layer of the ten."""
WEIGHTS, PACKED = "model.safetensors", "model.safetensors.shuffled.xz"


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("golden", type=Path, help="folder of tiny-*/ and *.npz")
    parser.add_argument("target", type=Path, help="where the reduced copy goes")
    options = parser.parse_args(argv)
    if not list(options.golden.glob("*.npz")):
        print(f"error: no *.npz traces in {options.golden}", file=sys.stderr)
        return 2
    print(f"{shrink(options.golden, options.target)} bytes in {options.target}")
    return 0


def shrink(golden: Path, target: Path) -> int:
    """Write the reduced copy; returns its size in bytes."""
    for folder in sorted(golden.glob("tiny-*")):
        _copy_checkpoint(folder, target / folder.name, _pack)
    frames = None
    for path in sorted(golden.glob("*.npz")):
        trace = dict(np.load(path))
        if frames is not None and not np.array_equal(frames, trace["frames"]):
            raise ValueError(f"{path} shows another video than the traces before it")
        frames = trace["frames"]
        np.savez_compressed(target / path.name, **_reduced(trace))
    np.savez_compressed(target / "frames.npz", frames=frames)
    return sum(path.stat().st_size for path in target.rglob("*") if path.is_file())


def unpack(source: Path, target: Path) -> Path:
    """Restore checkpoints and traces (still reduced) from `shrink`; returns `target`."""
    for folder in sorted(source.glob("tiny-*")):
        _copy_checkpoint(folder, target / folder.name, _unpack)
    frames = np.load(source / "frames.npz")["frames"]
    for path in sorted(source.glob("*_seed*.npz")):
        np.savez(target / path.name, frames=frames, **np.load(path))
    return target


def _copy_checkpoint(source: Path, target: Path, convert) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        if path.suffix == ".json":
            shutil.copyfile(path, target / path.name)
        else:
            convert(path, target)


def _reduced(trace: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    steps = [int(key[1:].split("_")[0]) for key in trace if key.endswith("_applied")]
    wanted = {"first_chunk_k", "first_chunk_v", f"c{max(steps)}_k", f"c{max(steps)}_v"}
    small = {
        key: value
        for key, value in trace.items()
        if key != "frames" and not key.endswith(("_k", "_v"))
    }
    small |= {key: trace[key][list(STATE_LAYERS)] for key in wanted}
    small["state_layers"] = np.array(STATE_LAYERS)
    return small


def _pack(path: Path, target: Path) -> None:
    raw = path.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    shuffled = np.frombuffer(raw[start:], np.uint8).reshape(-1, 4).T.tobytes()
    (target / PACKED).write_bytes(lzma.compress(raw[:start] + shuffled, preset=9))


def _unpack(path: Path, target: Path) -> None:
    raw = lzma.decompress(path.read_bytes())
    start = 8 + int.from_bytes(raw[:8], "little")
    data = np.frombuffer(raw[start:], np.uint8).reshape(4, -1).T.tobytes()
    (target / WEIGHTS).write_bytes(raw[:start] + data)


if __name__ == "__main__":
    sys.exit(main())
