"""Caps on the pixels of a frame under which numbers have been published.

They decide how many tokens a frame has, and with it how far back a budget reaches: numbers made
under different caps do not compare. Only families whose tokens follow the frame size obey them.
"""

from __future__ import annotations

import argparse

PATCH = 28 * 28
"""Pixels of one token of Qwen2.5-VL; a pair of frames shares it."""
PRESETS: dict[str, int | None] = {
    "released": None,
    "released_march": 768 * PATCH,
    "simplestream": 768 * PATCH,
    "simplestream_latency": 128 * 128,
    "fluxmem": 512 * PATCH,
    "infinipot_v": 128 * PATCH,
    "oasis": 512 * 512,
}
"""Name -> pixels; None is the checkpoint's own cap, which lets nearly every video through as it is.

`released` is the final state of the authors' code, `released_march` its versions of 17 to 22 March
2026. The others are what other papers' code allows each frame; that of SimpleStream shrinks for
long clips, which is not done here. What its latency was measured at is far below what its accuracy
was measured at."""


def pixels(text: str) -> int | None:
    """A number of pixels, or the name of a preset; for command lines.

    Raises:
        argparse.ArgumentTypeError: neither; the message lists the presets.
    """
    if text in PRESETS:
        return PRESETS[text]
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(
        f"'{text}' is neither a number of pixels nor one of {', '.join(PRESETS)}"
    )
