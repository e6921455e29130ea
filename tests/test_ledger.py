"""What the host knows of the frames in memory, and what happens when their size changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import ask, assert_same, contents, open_stream, random_frames

from hermes import POLICIES, SnapshotError
from hermes.saved import checked_file, snapshot
from hermes.store.ledger import Frame, Ledger
from inference.errors import FrameError
from inference.saved.stream_file import load_stream, save_stream

NEEDY = sorted(name for name, kind in POLICIES.items() if kind.needs_equal_frames)
TOLERANT = sorted(set(POLICIES) - set(NEEDY))


def _held(engine) -> list[tuple[int, int]]:
    """Frame number and tokens of the frames that every layer holds whole, newest first."""
    memory = engine.memory
    rows = [
        row[row >= 0].unique(return_counts=True)
        for stack in memory.stacks
        for row in stack.origin.frame[:, stack.visual].cpu()
    ]
    least: dict[int, int] = {}
    for numbers, counts in rows:
        found = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
        least = {n: min(c, least.get(n, c)) for n, c in found.items() if not least or n in least}
    return sorted(least.items(), reverse=True)


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_it_lists_every_frame_that_is_whole(base, policy):
    """In a row up to the newest; a policy may know of older ones that it keeps whole."""
    engine = open_stream(base, policy=policy, kv_size=24)
    for step in range(6):
        engine.encode_video_chunk(random_frames(6, seed=step))
        engine.predict_and_compress()
        listed = {frame.number: frame for frame in engine.memory.ledger.frames}
        assert list(listed) == sorted(listed)
        following = None
        for number, count in _held(engine):
            step = 1 if engine.family == "llava" else 2
            if count < engine.memory.ledger.newest.num_tokens or following not in (
                None,
                number + step,
            ):
                break
            following = number
            assert listed[number].num_tokens == count
        if POLICIES[policy].evicts:
            assert sum(frame.num_tokens for frame in listed.values()) <= 24
    assert engine.memory.num_prefix <= min(f.first_slot for f in listed.values()) if listed else 1


def test_it_says_when_a_frame_came_and_where(base):
    engine = open_stream(base, kv_size=100)
    engine.encode_video_chunk(random_frames(4), [0.5, 1.5, 3.0, 7.0])
    prefix = engine.memory.num_prefix
    expected = {
        "llava": [(n, s, 4, 0, prefix + 4 * n, (2, 2)) for n, s in enumerate((0.5, 1.5, 3.0, 7.0))],
        "qwen": [(0, 0.5, 4, 0, prefix, (2, 2)), (2, 3.0, 4, 0, prefix + 4, (2, 2))],
    }
    assert engine.memory.ledger.frames == [Frame(*row) for row in expected[engine.family]]
    ask(engine)
    assert len(engine.memory.ledger.frames) == len(expected[engine.family])
    engine.clear_cache()
    assert engine.memory.ledger.frames == []


def _begin(base, policy, **settings):
    engine = open_stream(base, policy=policy, kv_size=24, **settings)
    engine.encode_video_chunk(random_frames(8, seed=1))
    engine.predict_and_compress()
    return engine


@pytest.mark.parametrize("policy", NEEDY)
def test_another_size_is_refused_before_anything_is_stored(load, policy):
    engine = _begin(load("qwen"), policy)
    before, frames = contents(engine), engine.total_processed_frames
    with pytest.raises(FrameError, match=f"{policy}' needs frames of one size"):
        engine.encode_video_chunk(random_frames(8, seed=2, side=84))
    assert_same(contents(engine), before)
    assert engine.total_processed_frames == frames
    engine.encode_video_chunk(random_frames(8, seed=3))
    engine.predict_and_compress()
    assert ask(engine) == ask(engine)


@pytest.mark.parametrize("policy", TOLERANT)
def test_another_size_is_served(load, policy):
    engine = _begin(load("qwen"), policy)
    for seed, side in enumerate((84, 56, 112, 84)):
        engine.encode_video_chunk(random_frames(4, seed=seed, side=side))
        engine.predict_and_compress()
        if POLICIES[policy].evicts:
            assert engine.memory.num_visual <= 24
        engine.memory.check_integrity(engine.max_positions)
        assert isinstance(ask(engine), str)


def test_sizes_after_clearing_may_be_others(load):
    engine = _begin(load("qwen"), "two_speed")
    engine.clear_cache()
    engine.encode_video_chunk(random_frames(8, seed=2, side=84))
    assert engine.memory.ledger.newest.size == (3, 3)


FRAMES = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 3)), min_size=1, max_size=12).map(
    lambda rows: [
        Frame(n, n / 2, tokens, text, 7 * n, (1, tokens)) for n, (tokens, text) in enumerate(rows)
    ]
)


@given(FRAMES, st.integers(0, 80))
def test_trimming_keeps_what_fits_and_the_newest(frames, room):
    ledger = Ledger()
    ledger.frames = list(frames)
    ledger.trim(room)
    kept = ledger.frames
    assert kept == frames[len(frames) - len(kept) :] and kept
    total = sum(frame.num_tokens + frame.num_text for frame in kept)
    assert total <= room or len(kept) == 1
    if len(kept) < len(frames):
        missed = frames[-len(kept) - 1]
        assert total + missed.num_tokens + missed.num_text > room


@given(FRAMES)
def test_text_of_it_reads_back(frames):
    ledger = Ledger()
    ledger.frames = frames
    assert Ledger.from_json(ledger.to_json()).frames == frames


DAMAGED = [
    "[[0, 0.0, 4, 0, 3, [2, 3]]]",
    "[[1, 0.0, 4, 0, 3, [2, 2]], [1, 0.0, 4, 0, 3, [2, 2]]]",
    "[[0, 0.0, 4, 0, 3]]",
    "[[0, 0.0, 4000, 0, 3, [1, 4000]], [1, 0.0, 4000, 0, 3, [1, 4000]]]",
    "{",
    "7",
    '[["0", 0.0, 4, 0, 3, [2, 2]]]',
]


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_list_in_a_file_is_refused(base, tmp_path, text):
    engine = _begin(base, "two_speed")
    save_stream(engine, tmp_path / "stream")
    file = checked_file.read(tmp_path / "stream")
    checked_file.write(tmp_path / "stream", file.tensors, file.texts | {"ledger": text})
    before = contents(engine)
    with pytest.raises(SnapshotError, match="list of frames"):
        load_stream(engine, tmp_path / "stream")
    assert_same(contents(engine), before)


@pytest.mark.parametrize("policy", ["two_speed", "rekv", "infinipot_v"])
def test_files_without_a_list_continue(base, tmp_path, policy):
    """As versions wrote them that had no ledger; where all frames in layer 0 are whole it is the
    same one."""
    engine = _begin(base, policy)
    save_stream(engine, tmp_path / "stream")
    file = checked_file.read(tmp_path / "stream")
    texts = {name: text for name, text in file.texts.items() if name != "ledger"}
    checked_file.write(tmp_path / "stream", file.tensors, texts)
    later = open_stream(base, policy=policy, kv_size=24)
    load_stream(later, tmp_path / "stream")
    for one in (engine, later):
        one.encode_video_chunk(random_frames(8, seed=5))
        one.predict_and_compress()
    assert_same(contents(later), contents(engine))
    assert ask(later) == ask(engine)


def test_a_bare_snapshot_brings_its_list(base, tmp_path):
    engine = _begin(base, "rekv")
    snapshot.save(engine.memory, tmp_path / "memory")
    later = open_stream(base, policy="rekv", kv_size=24)
    snapshot.load(later.memory, tmp_path / "memory")
    assert later.memory.ledger.frames == engine.memory.ledger.frames
    assert_same(contents(later), contents(engine))


def test_tokens_dropped_by_hand_are_no_whole_frames(base):
    """`uniform` still keeps whole frames whole, and the ledger lists no others."""
    engine = open_stream(base, kv_size=24, policy="uniform")
    engine.encode_video_chunk(random_frames(12, seed=1))
    gone = range(engine.memory.num_prefix + 14, engine.memory.num_prefix + 18)
    kept = [row for row in range(engine.memory.num_tokens) if row not in gone]
    engine.apply_kv_cache_pruning_strict([kept] * engine.num_layers)
    held = dict(_held(engine))
    size = max(held.values())
    listed = [frame.number for frame in engine.memory.ledger.frames]
    assert set(listed) <= {number for number, count in held.items() if count == size}
    assert listed[-1] == max(held) and len(set(held.values())) > 1
    engine.encode_video_chunk(random_frames(12, seed=2))
    before = dict(_held(engine))
    engine.predict_and_compress()
    assert all(before[number] == count for number, count in _held(engine))
    assert engine.memory.num_visual <= 24


@pytest.mark.parametrize("policy", ["uniform", "rekv"])
def test_frames_stay_whole_where_their_text_is_dropped(load, policy):
    engine = open_stream(load("qwen3"), kv_size=150, policy=policy, frame_text="dropped")
    for step in range(6):
        engine.encode_video_chunk(random_frames(6, seed=step))
        engine.predict_and_compress()
        held = _held(engine)
        assert held[0][0] == 6 * step + 4, "the newest"
        if step > 3:
            assert {count for _, count in held} == {engine.memory.ledger.newest.num_tokens}
            assert [number for number, _ in held][::-1] == [
                frame.number for frame in engine.memory.ledger.frames
            ]
        assert isinstance(ask(engine), str)
