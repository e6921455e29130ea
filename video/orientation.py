"""Turning frames the way a player shows them."""

import logging
import struct
from collections.abc import Callable

import numpy as np

logger = logging.getLogger(__name__)

Turn = Callable[[np.ndarray], np.ndarray]


def turn_for(display_matrix: bytes | None) -> Turn:
    """A function that turns frames (height, width, 3) as a file's display matrix says.

    `display_matrix`: FFmpeg's side data, nine int32 in host order, whose entries 0, 1, 3, 4 map a
    pixel (x, y) to (a x + c y, b x + d y). Quarter turns and mirrorings, which are all that cameras
    write, are exact; other angles are left alone with a warning. None: nothing to turn.
    """
    if display_matrix is None:
        return lambda frame: frame
    entries = struct.unpack("=9i", bytes(display_matrix)[:36])
    a, b, c, d = (np.sign(entries[i]) for i in (0, 1, 3, 4))
    if b == c == 0 and a and d:
        return lambda frame: frame[::d, ::a]
    if a == d == 0 and b and c:
        return lambda frame: frame.transpose(1, 0, 2)[::b, ::c]
    logger.warning("display matrix %s is no quarter turn: frames are not turned", entries)
    return lambda frame: frame
