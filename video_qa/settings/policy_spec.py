"""What the user named of the memory: the runner's arguments and the policy's text."""

from __future__ import annotations

from typing import Any

from hermes.policy_text import read_policy, split_options
from video_qa.settings.run_settings import RunSettings


def named_fields(settings: RunSettings) -> dict[str, Any]:
    """What the user named of the memory, by the names of `hermes.MemoryConfig`.

    What stands in the policy's text goes before an argument of the runner, a profile for instance.
    """
    policy, options = read_policy(settings.policy)
    own, shared = split_options(options)
    named: dict[str, Any] = {
        "kv_size": settings.kv_size,
        "policy": policy,
        "profile": settings.profile,
        "chunk_frames": settings.chunk_frames,
    }
    if own:
        named["policy_options"] = own
    return named | shared
