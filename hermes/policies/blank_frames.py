"""As many tokens as `last_frames`, all of black frames: what is answered without seeing anything.

A floor and no memory: what a policy has above it comes from the video, the rest from the wording,
the options and the weights (blind baselines: Goyal et al., arXiv 1612.00837, section 4). The black
frames have the number, the times and the size of those that `last_frames` would show.
"""

from __future__ import annotations

from typing import ClassVar

from hermes.policies.last_frames import LastFrames


class BlankFrames(LastFrames):
    """Sees nothing."""

    is_blind: ClassVar[bool] = True
