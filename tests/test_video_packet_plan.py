"""Which packets are decoded: random groups of pictures against what a decoder would need."""

from dataclasses import dataclass
from fractions import Fraction
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from video.packet_plan import MAX_PENDING, PacketPlanner
from video.sampling import SamplePlan


@dataclass(frozen=True)
class Packet:
    """A packet without its data; `group` is the group of pictures it belongs to."""

    pts: int | None
    dts: int | None
    group: int
    is_restart: bool
    is_discard: bool = False


@st.composite
def streams(draw):
    """Packets in decoding order: groups with locally shuffled display order, uneven stamps."""
    delay = draw(st.integers(0, 4))
    stamps = [draw(st.integers(-20, 20))]
    packets = []
    for group in range(draw(st.integers(1, 6))):
        size = draw(st.integers(1, 12))
        for _ in range(size):
            stamps.append(stamps[-1] + draw(st.integers(1, 50)))
        members = stamps[-size - 1 : -1]
        order = [0, *sorted(range(1, size), key=lambda i: i + draw(st.integers(0, delay)))]
        packets += [(members[i], group, place == 0) for place, i in enumerate(order)]
    # decoding stamps: as late as possible, none above the presentation stamp of a later packet
    lowest = [min(pts for pts, _, _ in packets[place:]) for place in range(len(packets))]
    ahead = draw(st.integers(0, 60))  # containers shift decoding stamps by the reordering delay
    stream = [Packet(p[0], dts - ahead, *p[1:]) for p, dts in zip(packets, lowest, strict=True)]
    return stream, stamps[0], stamps[-1]


def planner_steps_with(packets, plan, end):
    """Steps as they are planned, so that a test can see how much has been read for each."""
    return PacketPlanner(plan, lambda packet: packet.is_restart).steps(packets, lambda: end)


def planner_steps(packets, plan, end):
    return list(planner_steps_with(iter(packets), plan, end))


def plan_of(origin, step, frame_count=None, first=0):
    return SamplePlan(Fraction(origin + first), Fraction(step), frame_count, counts_frames=False)


def wanted_stamps(packets, plan, end):
    """Stamps on screen at the sampled times, by looking at all packets."""
    wanted = []
    for index in count():
        deadline = plan.deadline(index)
        if not plan.wants(index) or deadline >= end:
            return wanted
        wanted.append(max(p.pts for p in packets if p.pts <= deadline and not p.is_discard))


@given(
    streams(),
    st.integers(1, 400).map(lambda n: Fraction(n, 3)),
    st.sampled_from([None, 1, 3]),
    st.sampled_from([0, 70]),
)
def test_everything_needed_is_decoded_in_order_from_restarts(stream, step, frame_count, first):
    packets, origin, end = stream
    plan = plan_of(origin, step, frame_count, first)
    steps = planner_steps(packets, plan, end)
    sent = [packets.index(one.packet) for one in steps]
    assert sent == sorted(set(sent)), "decoding order, nothing twice"
    shown = {one.packet.pts for one in steps if one.shown}
    assert set(wanted_stamps(packets, plan, end)) <= shown
    for one in steps:
        group = [place for place, p in enumerate(packets) if p.group == one.packet.group]
        before = [place for place in group if place < packets.index(one.packet)]
        assert set(before) <= set(sent), "everything it may refer to"
    gaps = [b.after_gap for b in steps]
    dropped = [b != a + 1 for a, b in zip([-1, *sent], sent, strict=False)]
    assert gaps == dropped
    assert all(one.packet.is_restart for one in steps if one.after_gap)


@given(streams(), st.integers(1, 30))
def test_without_restarts_everything_up_to_the_last_wanted_frame_is_decoded(stream, step):
    packets, origin, end = stream
    packets = [Packet(p.pts, p.dts, 0, is_restart=False) for p in packets]
    steps = planner_steps(packets, plan_of(origin, step), end)
    assert [one.packet for one in steps] == packets[: len(steps)]
    assert not any(one.after_gap for one in steps)


def test_groups_that_no_sample_falls_into_are_dropped():
    packets = [Packet(n, n, n // 10, n % 10 == 0) for n in range(100)]
    steps = planner_steps(packets, plan_of(0, 45), 100)
    assert [one.packet.pts for one in steps] == [0, *range(40, 46), 90]
    assert [one.packet.pts for one in steps if one.after_gap] == [40, 90]
    assert [one.packet.pts for one in steps if one.shown] == [0, 45, 90]


def test_reading_stops_once_the_last_wanted_frame_is_certain():
    read = []
    packets = (read.append(n) or Packet(n, n, 0, n == 0) for n in range(1000))
    steps = planner_steps(packets, plan_of(0, 10, frame_count=3), 1000)
    assert [one.packet.pts for one in steps] == list(range(21))
    assert len(read) == 22


def test_after_a_packet_without_stamp_everything_is_decoded():
    packets = [Packet(n if n != 15 else None, n, 0, n % 10 == 0) for n in range(50)]
    steps = planner_steps(packets, plan_of(0, 100), 50)
    assert [one.packet for one in steps] == [packets[0], *packets[10:]]
    assert all(one.shown for one in steps)


def test_packets_held_back_are_limited():
    read = []
    packets = (read.append(n) or Packet(n, n, 0, n == 0) for n in range(5 * MAX_PENDING))
    steps = planner_steps_with(packets, plan_of(0, 10**6), 5 * MAX_PENDING)
    assert max(len(read) - one.packet.pts for one in steps) <= MAX_PENDING + 2
    assert len(read) == 5 * MAX_PENDING


def test_a_discarded_frame_is_never_the_one_on_screen():
    packets = [Packet(n, n, 0, n == 0, is_discard=n in (4, 5)) for n in range(10)]
    steps = planner_steps(packets, plan_of(0, 5), 10)
    assert [one.packet.pts for one in steps if one.shown][:2] == [0, 3]
