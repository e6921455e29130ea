"""Shares of the seconds that may be asked about, so that no answer is more frequent than another.

    python scripts/nanostream_shares.py    # measures them anew, for every degree

How often one, two or three things are visible, and what changes how often, follows from the world
of a degree. A question whose answer would be the frequent one is therefore asked only at a share of
the seconds: least over most frequent, in streams of 64, 256 and 1,024 seconds, averaged. Those of
`clean` were measured on other streams and stay as they are, so that its questions do too.
"""

COUNT_SHARES: dict[str, dict[str, float]] = {
    "clean": {"1": 0.43, "2": 0.67},
    "noisy": {"1": 0.43, "2": 0.67},
    "busy": {"1": 0.48, "2": 0.77},
    "rich": {"1": 0.98, "2": 0.9, "3": 0.85},
}
"""Degree -> number of things visible -> share."""
_CLEAN_CHANGES = {(1, "colour"): 0.66, (1, "place"): 0.31, (2, "number"): 0.19}
_CLEAN_CHANGES |= {(2, "place"): 0.85, (3, "colour"): 0.89, (3, "place"): 0.80}
_BUSY_CHANGES = {(1, "colour"): 0.7, (1, "place"): 0.31, (2, "number"): 0.19, (2, "place"): 0.79}
_BUSY_CHANGES |= {(3, "colour"): 0.91, (3, "number"): 0.93, (3, "place"): 0.81}
_RICH_CHANGES = {(1, "number"): 0.87, (1, "place"): 0.5, (2, "number"): 0.24, (2, "place"): 0.81}
_RICH_CHANGES |= {(3, "colour"): 0.64, (3, "place"): 0.56}
CHANGE_SHARES: dict[str, dict[tuple[int, str], float]] = {
    "clean": _CLEAN_CHANGES,
    "noisy": _CLEAN_CHANGES,
    "busy": _BUSY_CHANGES,
    "rich": _RICH_CHANGES,
}
"""Degree -> (number of things visible, what changed) -> share."""
