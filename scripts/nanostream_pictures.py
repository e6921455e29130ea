"""Pictures of the four degrees for docs/nanostream.md.

python scripts/nanostream_pictures.py    # writes docs/nanostream/*.png
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from video_qa.nanostream.degrees import DEGREES
from video_qa.nanostream.picture.render import render
from video_qa.nanostream.world import World, make_world

OUT = Path(__file__).resolve().parents[1] / "docs" / "nanostream"
SECONDS, COLUMNS, ROWS, GAP = 64, 8, 2, 4
SEED = 5


def seconds_shown(world: World) -> list[int]:
    """Evenly spread seconds; where something comes and goes, its seconds first."""
    count = COLUMNS * ROWS
    marked = [mark.start_second for mark in world.marks if mark.end_second - mark.start_second < 3]
    even = np.linspace(0, SECONDS - 1, count).astype(int).tolist()
    chosen = list(dict.fromkeys(marked[: count // 2] + even))[:count]
    return sorted(chosen)


def sheet(degree: str) -> Image.Image:
    """Frames of one stream in their order."""
    world = make_world(SEED, SECONDS, degree)
    frames = list(render(world, fps=1))
    side = frames[0].shape[0] + GAP
    picture = np.full((ROWS * side - GAP, COLUMNS * side - GAP, 3), 255, np.uint8)
    for number, second in enumerate(seconds_shown(world)):
        top, left = number // COLUMNS * side, number % COLUMNS * side
        picture[top : top + side - GAP, left : left + side - GAP] = frames[second]
    return Image.fromarray(picture)


def main() -> None:
    """Write one picture per degree."""
    OUT.mkdir(parents=True, exist_ok=True)
    for degree in DEGREES:
        path = OUT / f"{degree}.png"
        sheet(degree).quantize(192).save(path, optimize=True)
        print(path)


if __name__ == "__main__":
    main()
