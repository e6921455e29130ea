"""Index and time arithmetic of sampling, against slow and obvious computations."""

import math
from decimal import ROUND_CEILING, Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from video.frame_request import FrameRequest
from video.sampling import (
    exact,
    frames_before,
    pick_frames,
    planned_indices,
    released_plan,
    timestamp_plan,
)

TICK = Fraction(1, 1000)
RATES = st.sampled_from([0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 29.97, 1 / 3])


def request(**changes) -> FrameRequest:
    return FrameRequest(Path("video.mp4"), **({"sample_fps": 1.0} | changes))


@pytest.mark.parametrize(
    ("end_seconds", "sample_fps", "count"),
    [
        (0.3, 10, 3),  # 0.3 * 10 is 3.0000000000000004 in other orders of operations
        (0.7, 10, 7),  # 7.000000000000001 as a float product
        (1.1, 10, 11),  # 11.000000000000002
        (4.35, 100, 435),  # 434.99999999999994
        (0.03, 0.5, 1),
        (0.0, 1.0, 1),
        (1.0, 0.5, 1),
        (2.0, 0.5, 1),
        (2.01, 0.5, 2),
        (3600, 0.5, 1800),
    ],
)
def test_frames_before_known_values(end_seconds, sample_fps, count):
    assert frames_before(end_seconds, sample_fps) == count


@given(st.integers(0, 10**7), st.integers(1, 6000))
def test_frames_before_agrees_with_decimal_arithmetic(milliseconds, centi_fps):
    """Times with three decimals, rates with two: the ceiling that a person would write down."""
    product = Decimal(milliseconds) / 1000 * Decimal(centi_fps) / 100
    expected = max(1, int(product.to_integral_value(ROUND_CEILING)))
    assert frames_before(milliseconds / 1000, centi_fps / 100) == expected


@given(st.floats(0, 1e5), st.floats(0.01, 60))
def test_frames_before_is_never_far_from_the_float_formula(end_seconds, sample_fps):
    count = frames_before(end_seconds, sample_fps)
    assert math.ceil(end_seconds * sample_fps - 0.2) <= count
    assert count <= max(1, math.ceil(end_seconds * sample_fps + 0.2))


@given(st.floats(0, 1e5))
def test_exact_moves_a_number_by_less_than_a_microsecond(value):
    assert abs(exact(value) - Fraction(value)) < Fraction(1, 10**6)


def test_exact_does_not_turn_a_tiny_rate_into_zero():
    assert exact(1e-9) > 0


@given(
    gaps=st.lists(st.integers(0, 700), min_size=1, max_size=40),
    origin=st.integers(-500, 5000),
    sample_fps=RATES,
    start=st.sampled_from([0.0, 0.1, 1.5]),
    seconds=st.sampled_from([None, 0.05, 0.7, 4.0]),
)
def test_picking_by_stamps_is_the_last_frame_on_screen(gaps, origin, sample_fps, start, seconds):
    """Variable rate, equal stamps, any origin: compared with a search over all frames."""
    stamps = [origin]
    for gap in gaps:
        stamps.append(stamps[-1] + gap)
    end = stamps[-1] + 40
    clip = None if seconds is None and start == 0 else (start, start + (seconds or 1e4))
    plan = timestamp_plan(request(sample_fps=sample_fps, clip=clip), Fraction(1), TICK, origin)
    frames = list(pick_frames(zip(stamps, range(100), strict=False), plan, lambda: end))
    expected, index = [], 0
    while True:
        time = exact(start if clip else 0.0) + index / exact(sample_fps)
        stamp = origin + time * 1000
        after_clip = clip is not None and index > 0 and time >= exact(clip[1])
        if stamp // 1 >= end or after_clip:
            break
        expected.append(max(i for i, other in enumerate(stamps) if other <= stamp))
        index += 1
    assert frames == expected


@given(st.integers(1, 500), RATES, st.sampled_from([12.5, 24.0, 25.0, 30.0]))
def test_released_rule_is_a_range(num_frames, sample_fps, fps):
    plan = released_plan(request(sample_fps=sample_fps), Fraction(fps), TICK, 0)
    step = max(1, int(fps / sample_fps))
    assert list(planned_indices(plan, num_frames)) == list(range(0, num_frames, step))


def test_released_rule_includes_the_last_frame_of_a_clip():
    plan = released_plan(request(sample_fps=3.0, clip=(1.0, 4.0)), Fraction(3), TICK, 0)
    assert list(planned_indices(plan, 100)) == list(range(3, 13))


def test_released_rule_never_steps_by_zero():
    plan = released_plan(request(sample_fps=50.0), Fraction(25), TICK, 0)
    assert list(planned_indices(plan, 3)) == [0, 1, 2]


@given(st.integers(1, 50))
def test_stop_index_limits_any_plan(stop_index):
    wanted = request(stop_index=stop_index, clip=(0.0, 20.0))
    plan = timestamp_plan(wanted, Fraction(1), Fraction(1), 0)
    assert len(list(planned_indices(plan, 1000))) == min(stop_index, 20)


def test_two_frames_with_one_stamp_the_later_one_is_shown():
    plan = timestamp_plan(request(), Fraction(1), TICK, 0)
    frames = [(0, "a"), (1000, "b"), (1000, "c"), (1500, "d")]
    assert list(pick_frames(frames, plan, lambda: 1600)) == ["a", "c"]


def test_a_frame_that_comes_after_a_later_one_is_left_out():
    plan = timestamp_plan(request(), Fraction(1), TICK, 0)
    frames = [(0, "a"), (1000, "b"), (900, "late"), (2000, "c")]
    assert list(pick_frames(frames, plan, lambda: 2001)) == ["a", "b", "c"]
