"""What `two_speed` was tuned on has 4 tokens a frame; LLaVA-OneVision has 196, Qwen any number.

The same stream is seen at both resolutions, with the same number of frames in the budget: of a
picture's four regions each is one token, or 49 that are nearly alike. Whatever is counted in tokens
where it should be a share, or in frames where it should be a budget, tells the two apart.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from policy_memory import (
    HEADS,
    NUM_LAYERS,
    PREFIX,
    WIDTH,
    add_frames,
    compress_by,
    empty_memory,
    policy_of,
)
from torch import Tensor

SCENES, SCENE_FRAMES, REGIONS, CHUNK = 8, 4, 4, 8
BUDGET_FRAMES = 16
"""64 tokens of 4 a frame, on which the constants were tuned; 3,136 of 196."""
LENGTHS = (4, 196)


class Held(NamedTuple):
    """What a memory has at the end, in the worst layer."""

    whole: list[int]
    """Frames of which every layer has every token."""
    key: list[int]
    """Those of them that the policy secured for what changed after them."""
    things: set[tuple[int, int]]
    """(scene, region) of which every layer has some token."""


def _pictures(length: int) -> Tensor:
    """Values (l, f, t, g, d) of one picture per scene, shown for `SCENE_FRAMES` frames."""
    generator = torch.Generator().manual_seed(5)
    regions = torch.randn(NUM_LAYERS, SCENES, REGIONS, HEADS, WIDTH, generator=generator)
    patches = regions.repeat_interleave(length // REGIONS, dim=2)
    patches = patches + 0.02 * torch.randn(patches.shape, generator=generator)
    return patches.repeat_interleave(SCENE_FRAMES, dim=1)


def _watched(name: str, length: int) -> Held:
    """The stream in chunks of `CHUNK` frames, under a budget of `BUDGET_FRAMES`."""
    kv_size = BUDGET_FRAMES * length
    memory = empty_memory(PREFIX + kv_size + CHUNK * length)
    policy, values = policy_of(name, kv_size), _pictures(length)
    for start in range(0, values.shape[1], CHUNK):
        shown = values[:, start : start + CHUNK]
        add_frames(memory, shown, shown, first=start)
        if memory.num_visual > kv_size:
            compress_by(policy, memory)
    assert memory.num_visual == kv_size
    (stack,) = memory.stacks
    frames, patches = (part[:, stack.visual] for part in (stack.origin.frame, stack.origin.patch))
    counts = torch.stack([torch.bincount(row, minlength=values.shape[1]) for row in frames])
    things = (frames // SCENE_FRAMES) * REGIONS + patches // (length // REGIONS)
    common = set.intersection(*(set(row.tolist()) for row in things))
    whole = (counts == length).all(dim=0).nonzero().flatten().tolist()
    key = policy.state()["keyframes"]
    return Held(whole, key, {divmod(thing, REGIONS) for thing in common})


def test_the_same_is_kept_of_frames_of_196_tokens() -> None:
    few, many = (_watched("two_speed", length) for length in LENGTHS)
    last = SCENES * SCENE_FRAMES
    for held in (few, many):  # a quarter of the budget is the newest, 0.4 of the rest key frames
        assert held.whole[-4:] == list(range(last - 4, last))
        assert held.key == [last - 1 - age for age in (16, 12, 8, 4)]  # last sights of scenes
        assert set(held.key) <= set(held.whole)
    assert few.things <= many.things and len(many.things) == SCENES * REGIONS


def test_a_budget_of_few_frames_leaves_the_newest_and_tokens() -> None:
    """Qwen at full resolution: a frame is more than the newest frames' share of the budget."""
    policy = policy_of("two_speed", 3 * 196)
    memory = empty_memory(PREFIX + 8 * 196)
    values = _pictures(196)[:, ::SCENE_FRAMES]
    add_frames(memory, values[:, :8], values[:, :8])
    kept = compress_by(policy, memory)
    assert kept.shape == (NUM_LAYERS, 3 * 196)
    frames = memory.stacks[0].origin.frame[:, memory.stacks[0].visual]
    counts = torch.stack([torch.bincount(row, minlength=8) for row in frames])
    assert (counts[:, 7] == 196).all() and (counts[:, :7] < 196).all()
    assert (counts > 0).all()  # every scene is remembered
