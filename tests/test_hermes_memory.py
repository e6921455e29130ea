"""StreamMemory by itself: edge cases of keeping, folding, rolling back, and its checks."""

from __future__ import annotations

import pytest
import torch
from tiny import ask, assert_same, contents, open_stream, random_frames, watch

from hermes import MemoryIntegrityError
from hermes.store.provenance import SUMMARY


def test_evicting_nothing_changes_nothing(base_any):
    engine = open_stream(base_any, kv_size=100)
    watch(engine, random_frames(8))
    before = contents(engine)
    everything = torch.arange(engine.memory.num_visual, device=engine.device)
    engine.memory.keep([everything.expand(engine.memory.num_layers, -1)])
    assert_same(before, contents(engine))


@pytest.mark.parametrize("policy", ["hermes", "recent", "random", "uniform"])
def test_compressing_below_the_budget_changes_no_key_and_no_value(base_any, policy):
    """Prefix and visual tokens together pass kv_size (the trigger), visual tokens alone do not."""
    engine = open_stream(base_any, kv_size=60, policy=policy, reindex="eager")
    engine.encode_video_chunk(random_frames(10))
    before = contents(engine)
    engine.predict_and_compress()
    after = contents(engine)
    assert engine.last_compression.entered
    assert engine.last_compression.kept is None
    for name in ("keys", "values", "frame", "weights"):
        assert torch.equal(before[name], after[name])


def test_without_new_frames_nothing_happens(base_any):
    engine = open_stream(base_any, kv_size=24)
    engine.predict_and_compress()
    watch(engine, random_frames(24))
    before = contents(engine)
    engine.predict_and_compress()
    engine.encode_video_chunk(None)
    engine.encode_video_chunk(random_frames(0))
    engine.predict_and_compress()
    assert_same(before, contents(engine))


def test_a_full_memory_folds_exactly_one_token(base_any):
    """n == budget: long-term layers need a place for the summary, the others keep everything."""
    frames = random_frames(12)
    kv_size = 48 if base_any.family == "llava" else 24
    engine = open_stream(base_any, kv_size=kv_size)
    engine.encode_video_chunk(frames)
    before = contents(engine)
    assert engine.memory.num_visual == kv_size
    engine.predict_and_compress()
    after, long_term = contents(engine), engine.long_term_threshold
    assert engine.memory.num_visual == kv_size
    for layer, kept in enumerate(engine.last_compression.kept):
        summaries = int((after["frame"][layer] == SUMMARY).sum())
        assert (kept.numel(), summaries) == (
            (kv_size, 0) if layer < long_term else (kv_size - 1, 1)
        )
        assert after["weights"][layer, -1] == 1
    for name in ("keys", "values", "positions"):
        assert torch.equal(before[name][:long_term], after[name][:long_term])


def test_the_summary_is_the_mean_of_what_was_evicted(base_any):
    """Counted in the budget, last in the cache, one past the last kept position, mean of time."""
    engine = open_stream(base_any, kv_size=20)
    engine.encode_video_chunk(random_frames(16))
    before = contents(engine)
    engine.predict_and_compress()
    after, prefix = contents(engine), engine.memory.num_prefix
    assert engine.memory.num_visual == 20
    for layer in range(engine.long_term_threshold, engine.memory.num_layers):
        kept = set(engine.last_compression.kept[layer].tolist())
        total = before["keys"].shape[2] - prefix
        gone = [prefix + i for i in range(total) if i not in kept]
        tolerance = {"atol": 1e-5 if engine.dtype == torch.float32 else 2e-2, "rtol": 1e-2}
        for name in ("keys", "values"):
            mean = before[name][layer][:, gone].double().mean(1)
            assert torch.allclose(after[name][layer][:, -1].double(), mean, **tolerance)
        last_kept = after["positions"][layer][:, :-1].max()
        assert (after["positions"][layer][:, -1] == last_kept + 1).all()
        assert after["next_position"][layer] == last_kept + 2
        assert after["weights"][layer, -1] == len(gone)
        seconds = before["seconds"][layer][gone].mean()
        assert after["seconds"][layer, -1] == pytest.approx(seconds.item())


def test_summary_weights_add_up(base_any):
    """Every watched token is still accounted for in the long-term layers that fold."""
    engine = open_stream(base_any, kv_size=20, summary="weighted")
    watch(engine, random_frames(48))
    watched = 48 * (4 if base_any.family == "llava" else 2)
    weights = contents(engine)["weights"][:, engine.memory.num_prefix :]
    for layer in range(engine.long_term_threshold, engine.memory.num_layers):
        assert weights[layer].sum() == watched


def test_layers_of_different_lengths_are_refused(base_any):
    engine = open_stream(base_any, kv_size=100)
    watch(engine, random_frames(8))
    before = contents(engine)
    engine.memory.stacks *= 2  # as if the layers lay on two devices
    rows = [torch.arange(5 + extra, device=engine.device).expand(10, -1) for extra in (0, 1)]
    with pytest.raises(ValueError, match="same number of tokens"):
        engine.memory.keep(rows)
    engine.memory.stacks = engine.memory.stacks[:1]
    assert_same(before, contents(engine))


def test_an_exception_while_appending_leaves_the_memory_as_it_was(base_any, monkeypatch):
    engine = open_stream(base_any, kv_size=100)
    watch(engine, random_frames(8))
    before = contents(engine)
    original, calls = engine.decoder.kernel, []

    def failing(*args):
        calls.append(1)
        if len(calls) == 4:
            raise RuntimeError("the device is gone")
        return original(*args)

    monkeypatch.setattr(engine.decoder, "kernel", failing)
    with pytest.raises(RuntimeError, match="device is gone"):
        engine.encode_video_chunk(random_frames(8, seed=1))
    monkeypatch.undo()
    assert_same(before, contents(engine))
    other = open_stream(base_any, kv_size=100)
    watch(other, random_frames(8))
    assert ask(engine) == ask(other)


def test_buffers_that_grow_keep_their_content(base_any, monkeypatch):
    """Without any reserve every append reallocates; the stream must not notice."""
    usual = open_stream(base_any, kv_size=24)
    watch(usual, random_frames(32))
    monkeypatch.setattr("inference.abstract_hermes.TEXT_RESERVE_TOKENS", 0)
    tight = open_stream(base_any, kv_size=24, chunk_frames=1)
    watch(tight, random_frames(32))
    ask(tight, "?" * 200)
    assert tight.memory.capacity < usual.memory.capacity
    assert_same(contents(usual), contents(tight))


def _break_order(memory):
    frames = memory.provenance.frame[4]
    first = memory.num_prefix
    frames[first : memory.num_tokens] = frames[first : memory.num_tokens].flip(0)


def _break_prefix_positions(memory):
    memory.positions[2, :, 3] += 1


def _break_prefix_origin(memory):
    memory.provenance.frame[2, 0] = 7


def _break_values(memory):
    memory.layers[5].values[0, 3, 0] = torch.nan


def _break_next_position(memory):
    memory.next_position[1] -= 5


def _break_bound(memory):
    memory.position_bound -= 1


def _pass_limit(memory):
    memory.positions[6, :, memory.num_tokens - 1] = 99_999
    memory.next_position[6] = 100_000
    memory.position_bound = 100_000


BREAKS = {
    _break_order: "layer 4: kept tokens are not in time order",
    _break_prefix_positions: "layer 2: the prefix has left",
    _break_prefix_origin: "layer 2: a visual token stands in the prefix",
    _break_values: "layer 5: values hold",
    _break_next_position: "layer 1: next position",
    _break_bound: "position bound",
    _pass_limit: "layer 6: position 99999",
}


@pytest.mark.parametrize(("damage", "message"), BREAKS.items(), ids=[f.__name__ for f in BREAKS])
def test_check_integrity_finds_the_damage(base_any, damage, message):
    engine = open_stream(base_any, kv_size=24, policy="recent")
    watch(engine, random_frames(16))
    engine.memory.measure_positions()
    engine.memory.check_integrity(engine.max_positions)
    damage(engine.memory)
    with pytest.raises(MemoryIntegrityError, match=message):
        engine.memory.check_integrity(engine.max_positions)
