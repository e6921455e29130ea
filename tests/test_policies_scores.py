"""The thing that defines each scoring policy, on a memory filled by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_memory import (
    HEADS,
    NUM_LAYERS,
    PREFIX,
    WIDTH,
    add_frames,
    chosen,
    compress_by,
    empty_memory,
    policy_of,
    random_attention,
    random_states,
)

from hermes.policy_parts.novelty.all_pairs import stream_novelty
from hermes.policy_parts.novelty.keyframes import choose_keyframes
from hermes.policy_parts.received_attention import received_attention
from hermes.policy_parts.selection import top_after, top_rows
from hermes.policy_parts.slices import ranks_within, time_slices, top_with_floors
from hermes.policy_parts.value_norm import known_frames, masked_mean, pooled_norms
from hermes.scores.attention import mean_attention

LENGTH = 4


def _filled(frames: int, seed: int = 0):
    memory = empty_memory()
    add_frames(memory, *random_states(frames, LENGTH, seed))
    return memory


def _frames_of(memory, rows, layer=0):
    return memory.provenance.frame[layer, PREFIX + rows].tolist()


def test_tar_drops_exactly_the_patches_that_repeat():
    """Patches 0 and 1 never change, patches 2 and 3 are new in every frame."""
    keys, values = random_states(8, LENGTH)
    keys[:, :, :2] = keys[:, :1, :2]
    memory = empty_memory()
    add_frames(memory, keys, values)
    # 16 of 32 tokens stay: 2 reference frames of 4 tokens, 8 of the 12 changing older tokens
    policy = policy_of("infinipot_v", 31, target_ratio=16 / 31, tar_ratio=1.0, query_ratio=0.25)
    for rows in chosen(policy, memory):
        older = rows[rows < 24]
        assert rows[rows >= 24].tolist() == list(range(24, 32)), "reference frames stay whole"
        assert older.numel() == 8
        assert (older % LENGTH >= 2).all(), "no repeating patch survives"


def test_van_keeps_the_largest_values():
    keys, values = random_states(8, LENGTH)
    loud = [1, 6, 11, 17]
    values.flatten(1, 2)[:, loud] *= 100
    memory = empty_memory()
    add_frames(memory, keys, values)
    policy = policy_of("infinipot_v", 31, target_ratio=12 / 31, tar_ratio=0.0)
    deepest = chosen(policy, memory)[-1]  # no pooling in the last quarter
    assert deepest.tolist() == [*loud, *range(24, 32)]


def test_infinipot_cuts_to_its_target():
    memory = _filled(8)
    kept = chosen(policy_of("infinipot_v", 31), memory)
    assert {rows.numel() for rows in kept} == {int(0.75 * 31)}


def test_pooling_leaves_evicted_neighbours_out():
    """Compared with a mean written as loops."""
    generator = torch.Generator().manual_seed(1)
    volume = torch.rand(1, 5, 3, 4, generator=generator)
    present = (torch.rand(1, 5, 3, 4, generator=generator) > 0.4).float()
    window = (3, 5, 1)
    mean = masked_mean(volume, present, window)
    for f, y, x in present[0].nonzero().tolist():
        near = [
            volume[0, i, j, x].item()
            for i in range(max(0, f - 1), min(5, f + 2))
            for j in range(max(0, y - 2), min(3, y + 3))
            if present[0, i, j, x]
        ]
        assert mean[0, f, y, x].item() == pytest.approx(sum(near) / len(near), rel=1e-5)


def _pooled(memory, grid):
    return pooled_norms(memory.stacks[0], known_frames(memory), grid, NUM_LAYERS)


def test_value_norm_is_pooled_by_depth():
    """One loud token spreads over its 7 x 7 x 7, its frame, its neighbours, nothing."""
    keys, values = random_states(12, LENGTH)
    values = torch.ones_like(values)
    values[:, 5, 1] = 100
    memory = empty_memory()
    add_frames(memory, keys, values)
    scores = _pooled(memory, (2, 2))
    spoken = [{i // LENGTH for i in (scores[k] > 3).nonzero().flatten().tolist()} for k in range(4)]
    assert spoken[0] == set(range(2, 9))
    assert spoken[1] == {5}
    touched = [(scores[layer] > 3).nonzero().flatten().tolist() for layer in (1, 2, 3)]
    assert touched == [[20, 21, 22, 23], [20, 21, 22], [21]]


def test_the_windows_are_five_and_seven_patches_wide():
    """On frames of 9 x 9 patches, so that no border cuts the windows."""
    keys, values = random_states(1, 81)
    values = torch.ones_like(values)
    values[:, 0, 4 * 9 + 4] = 1000
    memory = empty_memory()
    add_frames(memory, keys, values)
    scores = _pooled(memory, (9, 9))
    for layer, radius in ((0, 3), (1, 2)):
        heard = (scores[layer] > 3).view(9, 9).nonzero() - 4
        assert len(heard) == (2 * radius + 1) ** 2 and heard.abs().max() == radius


def test_prototype_is_the_score_weighted_mean_of_its_frame():
    memory = _filled(6)
    states = [(b.keys.clone(), b.values.clone()) for b in memory.layers]
    policy = policy_of("stream_mem", 14)
    attention = random_attention(24)
    kept = chosen(policy, memory, attention)
    policy.evicting(memory, [attention], [kept])
    memory.keep([kept])
    assert memory.num_visual == 14
    for layer, rows in enumerate(kept):
        weights = memory.provenance.weights[layer, PREFIX : PREFIX + 14]
        for frame in range(6):
            mine = attention[layer][4 * frame : 4 * frame + 4]
            slot = 4 * frame + int(mine.argmin())
            place = rows.tolist().index(slot)
            if {4 * frame + i for i in range(4)} <= set(rows.tolist()):
                assert weights[place] == 1
                continue
            assert weights[place] == LENGTH
            for which, held in enumerate((memory.layers[layer].keys, memory.layers[layer].values)):
                own = states[layer][which][:, PREFIX + 4 * frame : PREFIX + 4 * frame + 4]
                expected = sum(mine[i] * own[:, i] for i in range(4)) / mine.sum()
                assert torch.allclose(held[:, PREFIX + place], expected, atol=1e-6)


def test_a_frame_gets_its_prototype_once():
    memory = _filled(6)
    policy = policy_of("stream_mem", 20)
    kept = compress_by(policy, memory)
    made = memory.provenance.weights[0, PREFIX : PREFIX + 20].gt(1).sum()
    assert made == (torch.bincount(kept[0] // LENGTH) < LENGTH).sum() > 0
    add_frames(memory, *random_states(1, LENGTH, 5), first=6)
    compress_by(policy, memory, seed=1)
    weights = memory.provenance.weights[0, PREFIX : PREFIX + 20]
    frames = memory.provenance.frame[0, PREFIX : PREFIX + 20]
    assert (weights[frames < 6] > 1).sum() <= made
    assert (weights[frames == 6] > 1).sum() == 1


def test_received_attention_equals_the_plain_mean():
    """For tokens that every query sees, the mean of Eq. 2; for the others, of those that see."""
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(4, 6, WIDTH, generator=generator)
    keys = torch.randn(HEADS, 16, WIDTH, generator=generator)
    received = received_attention(queries, keys, 0.3, max_queries=99)
    expected = mean_attention(queries, keys, 0.3, slice(0, 16), causal=True)
    seen_by = torch.tensor([6.0] * 11 + [5, 4, 3, 2, 1])
    assert torch.allclose(received, expected * 6 / seen_by, atol=1e-6)


def test_received_attention_of_some_queries_reaches_every_token():
    queries, keys = torch.randn(2, 40, WIDTH), torch.randn(HEADS, 50, WIDTH)
    assert torch.isfinite(received_attention(queries, keys, 1.0, max_queries=3)).all()


def test_live_vlm_covers_every_bucket():
    """All attention lies on the first frames; still every span of time is remembered."""
    memory = _filled(16)
    policy = policy_of("live_vlm", 24, recent_share=1 / 3, num_buckets=4)
    for layer in range(NUM_LAYERS):
        policy._received[layer] = torch.linspace(1, 0, 64)
    for rows in chosen(policy, memory):
        assert rows[-8:].tolist() == list(range(56, 64)), "short-term memory stays raw"
        # frames 0 to 13 in 4 spans of 3.25 seconds; the best of each are its first
        assert rows[:-8].tolist() == [*range(4), *range(16, 20), *range(28, 32), *range(40, 44)]


@pytest.mark.parametrize(("share", "frames"), [(0.1, 1), (0.25, 1), (0.4, 2), (0.0, 0)])
def test_live_vlm_keeps_a_recent_frame_of_any_size(share, frames):
    """A share smaller than a frame is one frame; none is none."""
    memory = _filled(16)
    policy = policy_of("live_vlm", 20, recent_share=share, num_buckets=4)
    for layer in range(NUM_LAYERS):
        policy._received[layer] = torch.linspace(1, 0, 64)
    for rows in chosen(policy, memory):
        assert rows.numel() == 20
        whole = [frame for frame in range(16) if (rows // 4 == frame).sum() == 4]
        assert [frame for frame in whole if frame >= 14] == list(range(16 - frames, 16))


def test_live_vlm_looks_only_when_something_leaves():
    memory = _filled(4)
    policy = policy_of("live_vlm", 24)
    assert policy.observer(memory, num_new=8) is None
    assert policy.observer(memory, num_new=9) is not None


@pytest.mark.parametrize("floor_share", [0.0, 0.5, 1.0])
def test_stratified_floors_hold(floor_share):
    memory = _filled(16)
    policy = policy_of("stratified", 32, num_slices=4, floor_share=floor_share)
    biased = torch.linspace(0, 1, 64).expand(NUM_LAYERS, -1)
    for rows in map(torch.unique, chosen(policy, memory, biased)):  # a summary's slot repeats
        counts = torch.bincount(torch.tensor(_frames_of(memory, rows)) // 4, minlength=4)
        assert counts.min() >= int(floor_share * rows.numel() / 4)
        if floor_share == 0:
            assert counts[0] == 0, "without floors the bias decides, or the test shows nothing"


def test_streaming_llm_keeps_sinks_and_window():
    memory = _filled(8)
    kept = chosen(policy_of("streaming_llm", 12, num_sinks=5), memory)
    assert all(rows.tolist() == [*range(5), *range(25, 32)] for rows in kept)
    assert policy_of("streaming_llm", 12).config.reindex == "eager"


def test_a_former_name_says_what_it_is_now():
    with pytest.raises(ValueError, match=r"hermes_exact.*is hermes:profile=paper now; known: "):
        policy_of("hermes_exact", 12)


def test_two_speed_leaves_the_recent_window_untouched():
    memory = _filled(16)
    before = [(b.keys.clone(), b.values.clone()) for b in memory.layers]
    policy = policy_of("two_speed", 24, recent_share=0.5)
    kept = compress_by(policy, memory)
    for layer, rows in enumerate(kept):
        assert rows[-12:].tolist() == list(range(52, 64))
        for which, held in enumerate((memory.layers[layer].keys, memory.layers[layer].values)):
            assert torch.equal(
                held[:, PREFIX + 12 : PREFIX + 24],
                before[layer][which][:, PREFIX + 52 : PREFIX + 64],
            )


ATTENTION_WITH_FLOORS = {
    "recent_share": 0.5,
    "attention_weight": 1.0,
    "num_slices": 4,
    "floor_share": 0.5,
}


def test_two_speed_past_keeps_floors_against_biased_attention():
    memory = _filled(28)
    policy = policy_of("two_speed", 64, keyframe_share=0.0, **ATTENTION_WITH_FLOORS)
    biased = torch.linspace(0, 1, 112).expand(NUM_LAYERS, -1)
    for rows in chosen(policy, memory, biased):
        past = rows[rows < 80]
        assert past.numel() == 32
        counts = torch.bincount(past // 20, minlength=4)
        assert counts[:3].tolist() == [4, 4, 4] and counts[3] == 20


def test_two_speed_floors_leave_the_key_frames_their_share():
    """Half of the past for key frames, half of the rest in floors: 8 of 32 tokens, 2 per slice."""
    policy = policy_of("two_speed", 64, keyframe_share=0.5, **ATTENTION_WITH_FLOORS)
    biased = torch.linspace(1, 0, 112).expand(NUM_LAYERS, -1)
    for rows in chosen(policy, _filled(28), biased):
        free = [
            row for row in rows.tolist() if row < 80 and row // LENGTH not in policy._pending[0]
        ]
        counts = torch.bincount(torch.tensor(free) // 20, minlength=4)
        assert min(counts[1:].tolist()) == 2 and counts.sum() == 16


def test_two_speed_asks_for_attention_only_if_it_counts():
    assert policy_of("two_speed", 24).guidance(0) is None
    assert policy_of("two_speed", 24, attention_weight=0.2, guidance="global").guidance(0) == (
        "global"
    )


def test_two_speed_keeps_one_of_what_comes_back():
    """Three things take turns for twenty frames; each is kept once in the past, first sight."""
    keys, values = random_states(3, LENGTH)
    turns = torch.arange(20) % 3
    memory = empty_memory()
    add_frames(memory, keys[:, turns], values[:, turns])
    policy = policy_of("two_speed", 20, recent_share=0.4, keyframe_share=0.0)
    for rows in chosen(policy, memory):
        assert rows[:-8].tolist() == list(range(12)), "each patch of the first three frames"
        assert rows[-8:].tolist() == list(range(72, 80))


def test_two_speed_key_frames_are_whole_and_differ():
    """Five scenes of four equal frames; with room for four key frames, each from another scene."""
    keys, values = random_states(5, LENGTH)
    keys, values = (states.repeat_interleave(4, dim=1) for states in (keys, values))
    memory = empty_memory()
    policy = policy_of("two_speed", 40, recent_share=0.2, keyframe_share=0.5)
    for start in range(0, 20, 5):
        add_frames(memory, keys[:, start : start + 5], values[:, start : start + 5], first=start)
        if memory.num_visual > 40:
            compress_by(policy, memory, seed=start)
    chosen = policy._keyframes
    assert len(chosen) == 4
    assert len({frame // 4 for frame in chosen}) == 4, "one per scene"
    for layer in range(NUM_LAYERS):
        frames = memory.provenance.frame[layer, PREFIX : memory.num_tokens]
        assert all((frames == number).sum() == LENGTH for number in chosen)


def test_the_newest_candidate_is_compared_with_the_first_recent_frame():
    """Scenes A and B; the recent part begins with B and ends with C: only A ends before it."""
    keys, values = random_states(3, LENGTH)
    values[:, 2] = -values[:, 1]  # nothing differs more
    scene = torch.tensor([0] * 4 + [1] * 5 + [2])
    memory = empty_memory()
    add_frames(memory, keys[:, scene], values[:, scene])
    policy = policy_of("two_speed", 16, recent_share=0.5, keyframe_share=0.5)
    chosen(policy, memory)
    assert policy._pending[0] == [3]


def test_key_frames_are_the_last_of_their_scene_and_the_oldest_fade():
    scene = [0, 0, 0, 1, 1, 2, 3]
    similarity = [[float(a == b) for a in scene] for b in scene]
    numbers = [10, 11, 12, 13, 14, 15, 16]  # 16 is only compared with
    assert choose_keyframes(numbers, similarity, 3, 8) == [12, 14, 15]
    assert choose_keyframes(numbers, similarity, 2, 8) == [14, 15]
    assert choose_keyframes(numbers, similarity, 0, 8) == []


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.floats(-1e6, 1e6, width=32), st.integers(0, 4)), min_size=1, max_size=60),
    st.integers(1, 70),
    st.floats(0, 1),
)
def test_top_with_floors_against_a_plain_rule(tokens, budget, share):
    scores, slices = torch.tensor([s for s, _ in tokens]), torch.tensor([k for _, k in tokens])
    pair = torch.stack((scores, scores.flip(0))), torch.stack((slices, slices.flip(0)))
    rows = top_with_floors(*pair, 5, share, budget)[0].tolist()
    count = min(budget, len(tokens))
    assert rows == sorted(set(rows)) and len(rows) == count
    floor = int(share * count / 5)
    left = [i for i in range(len(tokens)) if i not in rows]
    for which in range(5):
        mine = [i for i in rows if tokens[i][1] == which]
        assert len(mine) >= min(floor, sum(k == which for _, k in tokens))
        lost = [scores[i] for i in left if tokens[i][1] == which]
        assert not lost or not mine or min(scores[i] for i in mine) >= max(lost)


def test_ranks_and_slices():
    seconds = torch.tensor([[5, 6, 9, 15], [1, 9, 10, 11]], dtype=torch.float64)
    slices = time_slices(seconds, 2)
    assert slices.tolist() == [[0, 0, 0, 1], [0, 1, 1, 1]]
    assert time_slices(torch.zeros(1, 3, dtype=torch.float64), 4).tolist() == [[0, 0, 0]]
    ranks = ranks_within(slices, torch.tensor([1.0, 3.0, 2.0, 0.0]).expand(2, -1), 2)
    assert ranks.tolist() == [[2, 0, 1, 0], [0, 0, 1, 2]]


def test_layers_that_fold_keep_one_less_and_repeat_their_last():
    scores = torch.tensor([[5.0, 1, 4, 2, 3], [1, 2, 3, 4, 5], [9, 8, 7, 6, 5]])
    assert top_rows(scores, 3, slice(1, 3)).tolist() == [[0, 2, 4], [3, 4, 4], [0, 1, 1]]
    assert top_rows(scores, 9, None).tolist() == [[0, 1, 2, 3, 4]] * 3
    secured = torch.tensor([[0, 1, 0, 0, 0]] * 3, dtype=torch.bool)
    assert top_after(scores, secured, 3).tolist() == [[0, 1, 2], [1, 3, 4], [0, 1, 2]]


@pytest.mark.parametrize("block", [1, 3, 1024])
def test_stream_novelty_is_the_distance_to_the_nearest_older_token(block):
    states = torch.randn(2, 9, 4, generator=torch.Generator().manual_seed(4))
    states[:, 7] = 3 * states[:, 2]
    other = torch.randn(1, 2, 9, 4)
    found = stream_novelty(torch.cat((states[None], other)), 18 * block)[0]
    assert found[0] == 1 and found[7] < 1e-6
    for row in range(1, 9):
        cosines = [
            np.mean([np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b) for a, b in heads])
            for older in range(row)
            for heads in [zip(states[:, row].numpy(), states[:, older].numpy(), strict=True)]
        ]
        assert found[row].item() == pytest.approx(min(1, 1 - max(cosines)), abs=1e-5)
