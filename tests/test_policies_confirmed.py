"""`confirmed_novelty`: what is carried is what all pairs give; what flashes up leaves."""

from __future__ import annotations

import math

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
    compress_by,
    empty_memory,
    policy_of,
    random_states,
)

from hermes.policy_parts.novelty.all_pairs import stream_novelty
from hermes.policy_parts.novelty.nearest_older import NONE, WHOLE
from hermes.policy_parts.novelty.whole_choice import Sight, choose_whole, faded, neighbours

LENGTH, KV_SIZE = 4, 24
PLAIN = {"unconfirmed_weight": 0, "unconfirmed_frame_weight": 0, "fading_scenes": 1e18}
THINGS = (
    torch.eye(WIDTH)[:5].repeat(3, 1) * torch.tensor([1.0, -1, 3]).repeat_interleave(5)[:, None]
)
"""Cosines of these are 1, 0 and -1 without any rounding, so that ties are ties."""


def _states(things: list[int]) -> torch.Tensor:
    """Values (l, f, t, g, d) that show these things in turn, in each layer and head others."""
    count = len(things)
    layer, token, head = torch.meshgrid(
        *map(torch.arange, (NUM_LAYERS, count, HEADS)), indexing="ij"
    )
    shown = torch.tensor(things)[(token * (head + 1) + layer) % count]
    return THINGS[shown].unflatten(1, (-1, LENGTH))


chunks = st.lists(
    st.tuples(st.integers(1, 5), st.lists(st.integers(0, 14), min_size=20, max_size=20)),
    min_size=3,
    max_size=7,
)


@settings(deadline=None, max_examples=30)
@given(chunks, st.booleans(), st.sampled_from([0.0, 0.3]), st.data())
def test_what_is_carried_is_what_all_pairs_give(streams, confirms, keyframes, data):
    """To the last bit and with ties, whatever leaves in between; unconfirmed, it is `two_speed`."""
    weights = {} if confirms else PLAIN
    shares = {"recent_share": 0.3, "keyframe_share": keyframes}
    ours = policy_of("confirmed_novelty", KV_SIZE, **shares, **weights)
    plain = policy_of("two_speed", KV_SIZE, **shares, keyframe_frames=10**18)
    memory, twin = empty_memory(), empty_memory()
    first = 0
    for frames, things in streams:
        values = _states(things[: frames * LENGTH])
        for held in (memory, twin):
            add_frames(held, values, values, first)
        first += frames
        if memory.num_visual <= KV_SIZE:
            continue
        stack = memory.stacks[0]
        ours.choose(memory, [None])
        found, everything = (
            ours._found[stack.layers],
            stream_novelty(stack.values[:, :, stack.visual]),
        )
        known = ~ours._whole[stack.layers]
        assert (found.neighbours[known] >= NONE).all() and known.any()
        assert torch.equal((1 - found.likeness[0]).clamp(0, 1)[known], everything[known])
        rows = compress_by(ours, memory)
        if not confirms:
            assert torch.equal(rows, compress_by(plain, twin))
        elif keyframes == 0 and data.draw(st.booleans()):  # by hand, before the newest frames
            gone = data.draw(st.integers(0, KV_SIZE - 8))
            left = [row for row in range(KV_SIZE) if row != gone]
            memory.keep([torch.tensor(left).expand(NUM_LAYERS, -1)])


def _watch(policy, values, times=None, per_chunk=5):
    """Stream frames (l, f, t, g, d) through a policy; the memory."""
    memory = empty_memory()
    for start in range(0, values.shape[1], per_chunk):
        part = values[:, start : start + per_chunk]
        add_frames(memory, part, part, start, None if times is None else times[start:])
        if memory.num_visual > policy.config.kv_size:
            compress_by(policy, memory)
    return memory


def _nearest_cosine(values, frame, other):
    """(l, t) of the tokens of a frame with the nearest of another, worked out in float64."""
    unit = torch.nn.functional.normalize(values.double(), dim=-1)
    return torch.einsum("ltgd,lsgd->lts", unit[:, frame], unit[:, other]).amax(2) / HEADS


@pytest.mark.parametrize(
    ("fps", "apart"),
    [
        (1, {(0, 10): 1, (8, 15): 1, (13, 17): 1}),
        (2, {(0, 10): 2, (8, 15): 2, (14, 17): 1}),
        (3, {(0, 10): 3, (9, 15): 3, (14, 17): 1}),
    ],
)
def test_who_confirms_a_token_is_a_second_away(fps, apart):
    """Among what stands whole in a row at a compression: the newest frame of the one before, and
    what came since; nearer where that is less than two seconds."""
    values = random_states(17, LENGTH)[1]
    values[:, 1::2] = values[:, ::2][:, :8] + 0.5 * values[:, 1::2]
    policy = policy_of("confirmed_novelty", KV_SIZE, recent_share=0.34, keyframe_share=0.0)
    memory = _watch(policy, values, [n / fps for n in range(17)])
    (carried,) = policy._carried.values()
    frames = memory.provenance.frame[:, PREFIX : PREFIX + KV_SIZE]
    patches = memory.provenance.patch[:, PREFIX : PREFIX + KV_SIZE]
    for layer in range(NUM_LAYERS):
        for row in range(carried.keys.shape[1]):
            frame, patch = frames[layer, row].item(), patches[layer, row].item()
            found = [
                _nearest_cosine(values, frame, other)[layer, patch].item()
                for (start, end), step in apart.items()
                for other in (frame - step, frame + step)
                if start <= min(frame, other) and max(frame, other) < end
            ]
            assert carried.likeness[1, layer, row].item() == pytest.approx(max(found), abs=1e-5)


@pytest.mark.parametrize("per_chunk", [1, 2, 3])
def test_every_frame_has_a_neighbour_however_often_is_asked(per_chunk):
    """At 4 fps, four frames to a second; a token that is compared with none can never stay."""
    values = random_states(17, LENGTH)[1]
    policy = policy_of("confirmed_novelty", KV_SIZE)
    _watch(policy, values, [n / 4 for n in range(17)], per_chunk)
    (carried,) = policy._carried.values()
    assert (carried.likeness[1] > -1).all()


def test_a_neighbour_tells_less_the_further_it_is_beyond_a_second():
    def seen(*seconds):
        return [Sight(number, at, True) for number, at in enumerate(seconds)]

    assert neighbours(seen(0, 2, 4), 1.0) == (1, 0.5)
    assert neighbours(seen(0, 0.5, 1, 1.5), 1.0) == (2, 1.0)
    assert neighbours(seen(0, 0.5, 1), 1.0) == (1, 1.0)
    assert neighbours(seen(7), 1.0) == (1, 1.0)
    assert neighbours(seen(0, 60, 61, 62, 63, 64), 1.0) == (1, 1.0)


NOISE = [[0.8] * 6, [0.3] * 6, [0.8] * 3 + [0.7] * 3, *[[0.8] * 6] * 3]
"""Likeness of six frames, each to those after it: 0.3 after the second, 0.7 after the third."""


@pytest.mark.parametrize(
    ("beside", "stays"),
    [
        ([0.8, 0.3, 0.8, 0.8, 0.8, 0.8], 2),
        ([0.8, 0.3, 0.8, 0.8, 0.8, -1.0], 2),
        ([0.99, 0.3, 0.8, 0.99, 0.8, -1.0], 2),
        ([0.6, 0.5, 0.3, 0.6, 0.6, -1.0], 1),
        ([-1.0] * 6, 1),
    ],
)
def test_noise_that_all_frames_show_hides_no_change(beside, stays):
    """What counts against a frame is how much less than the median it resembles its neighbours."""
    sights = [Sight(number, number, True, own) for number, own in enumerate(beside)]
    assert choose_whole(sights, NOISE, [5], 1, 1e9, 2.0) == [stays, 5]


def _scenes(frames_each=5, scenes=4):
    """(l, f, t, g, d): nothing changes within a scene."""
    return random_states(scenes, LENGTH)[1].repeat_interleave(frames_each, dim=1)


def _flash():
    """(l, f, t, g, d): frame 7 shows what no other frame shows; 10 and 11 show something, too."""
    values = _scenes()
    values[:, 7], values[:, 10] = random_states(2, LENGTH, seed=5)[1].unbind(1)
    values[:, 11] = values[:, 10]
    return values


@pytest.mark.parametrize("name", ["confirmed_novelty", "two_speed"])
def test_what_flashes_up_once_leaves(name):
    values = _flash()
    policy = policy_of(name, 44, recent_share=0.1, keyframe_share=0.45)
    memory = _watch(policy, values)
    for layer in range(NUM_LAYERS):
        frames = memory.provenance.frame[layer, PREFIX : memory.num_tokens].tolist()
        assert (7 in frames) == (name == "two_speed")
        assert 10 in frames or 11 in frames
        assert {0, 19} <= set(frames)


def _kept(times, frame_weight, weight):
    """Frames of the tokens that are kept of `_flash`, and frames that are whole."""
    weights = {"unconfirmed_frame_weight": frame_weight, "unconfirmed_weight": weight}
    shares = {"recent_share": 0.1, "keyframe_share": 0.45, "fading_scenes": 1e18}
    policy = policy_of("confirmed_novelty", 44, **shares, **weights)
    frames = _watch(policy, _flash(), list(times)).provenance.frame[:, PREFIX : PREFIX + 44]
    return frames.tolist(), [sight.number for sight in policy._sights]


@pytest.mark.parametrize(("weight", "frame_weight"), [(2.0, 0.0), (0.0, 2.0)])
def test_frames_that_come_seldom_confirm_less(weight, frame_weight):
    """Eight seconds apart by an eighth, for tokens and for frames; pauses are not the pace."""
    each_second = _kept(range(20), frame_weight, weight)
    assert _kept([n + n // 5 * 30 for n in range(20)], frame_weight, weight) == each_second
    seldom = _kept(range(0, 160, 8), frame_weight, weight)
    assert seldom == _kept(range(20), frame_weight / 8, weight / 8) != each_second


def test_a_clock_that_was_set_back_leaves_no_old_frames_in_the_recent_part():
    policy = policy_of("confirmed_novelty", 40, recent_share=0.6, keyframe_share=0.0)
    _watch(policy, random_states(60, LENGTH)[1], [*range(100, 120), *range(40)])
    assert [sight.number for sight in policy._sights] == [54, 55, 56, 57, 58, 59]


@pytest.mark.parametrize("seconds", [0, math.inf, -1])
def test_a_neighbour_has_to_be_somewhere_else(seconds):
    with pytest.raises(ValueError, match="neighbour_seconds must be a finite number above 0"):
        policy_of("confirmed_novelty", KV_SIZE, neighbour_seconds=seconds)


def test_frames_that_come_faster_do_not_shorten_the_recent_part():
    """At 4 fps: the newest frame, then one in a second."""
    values = random_states(60, LENGTH)[1]
    policy = policy_of("confirmed_novelty", 40, recent_share=0.6, keyframe_share=0.0)
    memory = _watch(policy, values, [n / 4 for n in range(60)], per_chunk=6)
    assert [sight.number for sight in policy._sights] == [40, 44, 48, 52, 56, 59]
    frames = memory.provenance.frame[:, PREFIX : memory.num_tokens]
    for sight in policy._sights:
        assert ((frames == sight.number).sum(1) == LENGTH).all()


def test_layers_of_the_window_keep_the_newest():
    policy = policy_of("confirmed_novelty", KV_SIZE, window_share=0.5, keyframe_share=0.0)
    frames = _watch(policy, _scenes()).provenance.frame[:, PREFIX : PREFIX + KV_SIZE]
    assert (frames[:2] >= 14).all() and (frames[2:, 0] == 0).all()


def test_a_state_that_cannot_be_is_refused():
    """And nothing is taken over from it."""
    policy = policy_of("confirmed_novelty", KV_SIZE)
    memory = _watch(policy, _scenes())
    state = policy.state()
    again = policy_of("confirmed_novelty", KV_SIZE)
    again.load_state(state, memory)
    assert str(again.state()) == str(state)
    sights, keys, likeness = state["sights"], state["keys"], state["likeness"]
    wrong = [
        {"sights": [[99, *sights[0][1:]], *sights[1:]]},
        {"sights": [[sights[0][0], "soon", True, 0.0], *sights[1:]]},
        {"sights": []},
        {"keys": keys.flip(1)},
        {"keys": keys.int()},
        {"neighbours": state["neighbours"][:, :-1]},
        {"likeness": likeness[:, :-1]},
        {"likeness": likeness * torch.nan},
        {"mood": keys},
    ]
    for change in wrong:
        fresh = policy_of("confirmed_novelty", KV_SIZE)
        with pytest.raises(ValueError):
            fresh.load_state(state | change, memory)
        assert fresh.state() == {"sights": []}


def test_the_last_of_each_scene_stays_whole_and_whole_frames_are_not_compared():
    policy = policy_of("confirmed_novelty", 44, recent_share=0.1, keyframe_share=0.3)
    memory = _watch(policy, _scenes())
    assert [sight.number for sight in policy._sights] == [4, 9, 14, 19]
    (carried,) = policy._carried.values()
    frames = memory.provenance.frame[:, PREFIX : memory.num_tokens]
    whole = torch.isin(frames, torch.tensor([4, 9, 14, 19]))
    assert torch.equal(carried.neighbours == WHOLE, whole)


@pytest.mark.parametrize("lull", [3, 25])
def test_the_scene_before_and_what_changed_in_this_one_stay_whole_however_long_it_lasts(lull):
    """Two cuts, after frames 4 and 9, and a small change after 12; all frames differ a little."""
    values = _scenes(5, 3)[:, [*range(13), *[12] * lull]].clone()
    values[:, 13:] += 1.0 * random_states(1, LENGTH, seed=3)[1]
    values += 0.02 * random_states(values.shape[1], LENGTH, seed=4)[1]
    shares = {"recent_share": 0.1, "keyframe_share": 0.2}
    policy = policy_of("confirmed_novelty", 44, fading_scenes=0.5, **shares)
    _watch(policy, values, per_chunk=7)
    assert [sight.number for sight in policy._sights] == [9, 12, 12 + lull]


def test_a_change_counts_less_by_the_scenes_that_began_after_it():
    """A scene begins with 0.5 and more here; what begins with the change itself is not after it."""
    found = faded([0.3, 1.0, 0.3, 0.6, 0.4, 0.1], fading_scenes=1 / math.log(2))
    assert found == pytest.approx([0.3 / 4, 1.0 / 2, 0.3 / 2, 0.6, 0.4, 0.1])
