"""Ways of keeping a stream, by the name that a policy has for its own."""

from __future__ import annotations

from typing import Any

from inference.kept.frames import KeptFrames
from inference.kept.kept import Kept
from inference.kept.reencoded import KeptReencoded
from inference.kept.shallow import KeptShallow
from inference.kept.tokens import KeptTokens

KEPT: dict[str, type[Any]] = {
    "tokens": KeptTokens,
    "tokens and frames": KeptReencoded,
    "frames": KeptFrames,
    "frames and an index": KeptShallow,
}
"""`Policy.keeps` -> what does it. A new way is one file and one entry here."""


def kept_of(stream: Any, policy: Any) -> Kept:
    """What keeps this stream under a policy; empty.

    Raises:
        ValueError: nothing keeps what the policy says.
    """
    if policy.keeps not in KEPT:
        name = policy.config.policy
        raise ValueError(f"policy {name!r} keeps {policy.keeps!r}; known: {', '.join(KEPT)}")
    kept: Kept = KEPT[policy.keeps](stream, policy)
    return kept
