"""Text of frames stays and leaves with them: the batched rule against loops, and what it costs.

No model: memories filled by hand, in which every frame has its own number of text tokens.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pretended_device import pretended_devices

from hermes import MemoryConfig, StreamMemory, compress, make_policy
from hermes.policies import POLICIES
from hermes.policy_parts.frame_text import with_frames, without_text
from hermes.positions import Placement
from hermes.store.provenance import NO_PATCH, Provenance
from inference.reindex_1d import Positions1D

HEADS, WIDTH, PREFIX = 2, 8, 3
RULE = Positions1D()


def _angles(positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    shape = (positions.shape[-1], WIDTH)
    return torch.ones(shape, device=positions.device), torch.zeros(shape, device=positions.device)


def _memory(texts, pictures, num_layers=4, device="cpu") -> StreamMemory:
    """Frames with so many text and picture tokens, text before the picture as it is read."""
    devices = [torch.device(device)] * num_layers
    memory = StreamMemory(devices, HEADS, WIDTH, 512, torch.float32, _angles)
    _append(memory, PREFIX, None)
    memory.close_prefix()
    sizes = torch.tensor(texts) + torch.tensor(pictures)
    numbers = torch.arange(len(texts)).repeat_interleave(sizes)
    patches = [
        torch.tensor([NO_PATCH] * s + [*range(t)]) for s, t in zip(texts, pictures, strict=True)
    ]
    _append(memory, len(numbers), Provenance(numbers, numbers.double(), torch.cat(patches)))
    memory.text_first()
    return memory


def _append(memory: StreamMemory, count: int, origin: Provenance | None) -> None:
    with memory.append(Placement(torch.arange(count).view(1, -1), count), origin) as angles:
        for layer in range(memory.num_layers):
            generator = torch.Generator().manual_seed(layer + count)
            states = torch.randn(2, HEADS, count, WIDTH, generator=generator).to(memory.device)
            memory.write(layer, *states, *angles(layer))


def _expected(frames, is_text, kept, preference, room):
    """One layer, by loops: buy pictures in order, the text of a frame with its first one."""
    chosen, own = set(kept), {f: int(sum(is_text[frames == f])) for f in set(frames)}
    pictures = [i for i in np.argsort(-preference, kind="stable") if not is_text[i]]
    order = [i for i in pictures if i in chosen] + [i for i in pictures if i not in chosen]
    opening, spent = [], 0
    for i in order:
        price = 1 + (0 if frames[i] in opening else own[frames[i]])
        if spent + price > room:
            break
        spent += price
        if frames[i] not in opening:
            opening.append(frames[i])

    def left(opened):
        return room - sum(own[f] for f in opened)

    if sum(frames[i] in opening for i in order) < left(opening):
        following = next((frames[i] for i in order if frames[i] not in opening), None)
        if following is not None and left([*opening, following]) >= len(opening) + 1:
            opening.append(following)
    best = {}
    for i in order:
        best.setdefault(frames[i], i)
    firsts = [best[f] for f in opening]
    others = [i for i in order if frames[i] in opening and i not in firsts]
    texts = [i for i in range(len(frames)) if is_text[i] and frames[i] in opening]
    rows = [*texts, *firsts, *others][:room]
    if len(rows) == room:
        return sorted(rows), True
    return rows, False


@pytest.mark.parametrize("seed", range(40))
def test_the_batched_rule_is_the_loop(seed):
    generator = np.random.default_rng(seed)
    count = int(generator.integers(3, 9))
    texts = generator.integers(0, 5, count).tolist()
    pictures = generator.integers(1, 9, count).tolist()
    memory = _memory(texts, pictures)
    (stack,), total = memory.stacks, memory.num_visual
    first = [sorted(generator.permutation(total)[: total - 3].tolist()) for _ in range(4)]
    memory.keep([torch.tensor(first)])  # layers differ from now on
    total = memory.num_visual
    k = int(generator.integers(min(14, total - 1), total))
    folding = slice(2, 4) if seed % 2 else None
    kept = np.stack([np.sort(generator.permutation(total)[:k]) for _ in range(4)])
    preference = generator.permutation(4 * total).reshape(4, total)
    found = with_frames(stack, torch.tensor(kept), torch.tensor(preference), folding)
    assert found.shape == kept.shape
    origin, visual = stack.origin, stack.visual
    for layer, rows in enumerate(found):
        room = k - (folding is not None and layer >= 2)
        rows = rows[:room].tolist()
        frames, is_text = (part[layer, visual].numpy() for part in (origin.frame, origin.is_text))
        expected, whole = _expected(frames, is_text, kept[layer], preference[layer], room)
        assert rows == sorted(set(rows)), "ascending, each once"
        if whole:
            assert rows == expected
            for frame in set(frames):  # text if and only if picture
                own = [i for i in range(total) if frames[i] == frame and is_text[i]]
                has_picture = any(frames[i] == frame and not is_text[i] for i in rows)
                assert [i in rows for i in own] == [has_picture] * len(own)
        else:
            assert set(expected) < set(rows)
            assert all(is_text[i] for i in set(rows) - set(expected)), "the rest is other text"
        if folding is not None and layer >= 2:
            assert found[layer, -1] == found[layer, -2]


def test_what_satisfies_the_rule_stays_as_it_is():
    memory = _memory([3] * 6, [8] * 6)
    (stack,) = memory.stacks
    frames = stack.origin.frame[:, stack.visual]
    kept = ((frames == 1) | (frames == 4)).nonzero()[:, 1].view(4, -1)
    assert torch.equal(with_frames(stack, kept, None, None), kept)


def test_by_default_frames_of_which_most_was_chosen_go_first():
    memory = _memory([3] * 3, [8] * 3)
    (stack,) = memory.stacks
    rows = torch.tensor([9, 10, 17, *range(25, 33)]).expand(4, -1)
    assert with_frames(stack, rows, None, None)[0].tolist() == [6, 7, 8, *range(25, 33)]


def test_dropped_text_makes_room_for_pictures():
    memory = _memory([3] * 4, [8] * 4)
    (stack,) = memory.stacks
    kept = torch.arange(6, 22).expand(4, -1)
    found = without_text(stack, kept, None, None)
    assert not stack.origin.is_text[:, stack.visual].gather(1, found).any()
    everything = torch.arange(4, 44).expand(4, -1)
    found = without_text(stack, everything, None, None)
    assert found.shape == (4, 40), "text comes back where there are not enough pictures"


def test_text_first_moves_tokens_and_nothing_else():
    memory = _memory([2, 3], [4, 5])
    (stack,) = memory.stacks
    slots = stack.visual
    assert stack.origin.is_text[0, slots].tolist() == [True] * 5 + [False] * 9
    assert stack.positions[0, 0, slots].tolist() == [3, 4, 9, 10, 11, 5, 6, 7, 8, *range(12, 17)]
    before = stack.keys[:, :, slots].clone()
    memory.text_first()
    assert torch.equal(stack.keys[:, :, slots], before), "twice is once"
    memory.check_integrity()


def test_text_is_not_folded_into_a_summary():
    memory = _memory([3] * 6, [8] * 6)
    (stack,) = memory.stacks
    policy = make_policy(MemoryConfig(kv_size=30, long_term_ratio=1.0, sensory_ratio=0.0), 4)
    keys = stack.keys[:, :, stack.visual].clone()
    is_text = stack.origin.is_text[:, stack.visual].clone()
    attention = torch.rand(4, memory.num_visual, generator=torch.Generator().manual_seed(1))
    done = compress(memory, policy, RULE, 10_000, lambda wanted: [attention])
    for layer in range(4):
        gone = ~torch.zeros(66, dtype=torch.bool).scatter(0, done.kept[layer], True)
        gone &= ~is_text[layer]
        mean = keys[layer][:, gone].mean(dim=1)
        assert torch.allclose(stack.keys[layer, :, memory.num_tokens - 1], mean, atol=1e-6)
        assert stack.origin.weights[layer, memory.num_tokens - 1] == gone.sum()


def _make_room(num_layers: int, policy: str):
    with pretended_devices(1) as traffic:
        config = MemoryConfig(kv_size=40, policy=policy, reindex="eager")
        acting = make_policy(config, num_layers)
        attention = torch.rand(num_layers, 66).to("cuda:0")
        for _ in range(2):  # constants travel once
            memory = _memory([3] * 6, [8] * 6, num_layers, "cuda:0")
            acting.reset()
            traffic.clear()
            memory.text_first()
            done = compress(memory, acting, RULE, 10_000, lambda wanted: [attention])
        assert done.kept is not None
    return traffic


FREE_OF_QUESTIONS = sorted(
    name
    for name, kind in POLICIES.items()
    if kind.evicts and not kind.works_at_question_time and name not in ("live_vlm", "infinipot_v")
)
"""`live_vlm` has to have seen what was read, `infinipot_v` needs frames that are grids."""


@pytest.mark.parametrize("policy", FREE_OF_QUESTIONS)
def test_operators_do_not_grow_with_the_layers(policy):
    few, many = (_make_room(layers, policy) for layers in (10, 30))
    assert few.operators == many.operators
    assert many.num_waits() <= 4 and many.num_copies() <= 8, (many.waits, many.copies)


def test_the_rule_itself_waits_for_nothing():
    """`recent` waits for nothing of its own: what is left is the rule's."""
    assert _make_room(10, "recent").num_waits() == 0
