"""Host stores and what is fetched back when a question comes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_memory import (
    HEADS,
    NUM_LAYERS,
    PREFIX,
    RULE,
    WIDTH,
    add_frames,
    compress_by,
    empty_memory,
    policy_of,
    random_states,
)
from tiny import ask, open_stream, random_frames, watch

from hermes.policy_parts.archive.frame_store import FrameStore, mean_query
from hermes.store.quantise import dequantise, quantise

LENGTH = 4
FRAME_BYTES = 2 * NUM_LAYERS * HEADS * LENGTH * WIDTH * 4


def _watched(policy, frames: int = 20, keys=None):
    """A memory that watched in chunks of four frames; keys may be planted."""
    memory = empty_memory()
    states = random_states(frames, LENGTH)
    keys = states[0] if keys is None else keys
    for start in range(0, frames, 4):
        chunk = slice(start, start + 4)
        add_frames(memory, keys[:, chunk], states[1][:, chunk], first=start)
        if memory.num_visual > policy.config.kv_size:
            compress_by(policy, memory, seed=start)
    return memory, keys, states[1]


def _question(policy, memory, query: torch.Tensor):
    """Open and fill the question's memory with (l, h, q, d) queries."""
    active, recall = policy.recall(memory, RULE)
    for layer in range(NUM_LAYERS):
        recall(layer, query[layer])
    return active


def test_rekv_retrieves_the_planted_frame():
    """In every layer another frame answers the query."""
    keys, _ = random_states(20, LENGTH)
    query = torch.randn(NUM_LAYERS, 4, 5, WIDTH, generator=torch.Generator().manual_seed(3))
    planted = [2, 5, 7, 11]
    for layer, frame in enumerate(planted):
        grouped = query[layer].mean(dim=1).view(HEADS, 2, WIDTH).sum(dim=1)
        keys[layer, frame] = 5 * grouped
    policy = policy_of("rekv", 16, num_frames=1)
    memory, _, values = _watched(policy, keys=keys)
    held_now = slice(0, memory.num_tokens)
    before = [b.keys[:, held_now].clone() for b in memory.layers]
    active = _question(policy, memory, query)
    for layer, frame in enumerate(planted):
        used = slice(PREFIX, active.num_tokens)
        assert active.provenance.frame[layer, used].tolist() == [frame] * LENGTH
        held = active.layers[layer]
        assert torch.equal(held.keys[:, used], keys[layer, frame].transpose(0, 1))
        assert torch.equal(held.values[:, used], values[layer, frame].transpose(0, 1))
        assert torch.equal(memory.layers[layer].keys[:, held_now], before[layer])


@pytest.mark.parametrize("local_share", [0.0, 0.5])
def test_rekv_fills_the_budget_in_time_order_at_gapless_positions(local_share):
    policy = policy_of("rekv", 16, local_share=local_share)
    memory, _, _ = _watched(policy)
    active = _question(policy, memory, torch.randn(NUM_LAYERS, 4, 3, WIDTH))
    assert active.num_visual == 16
    assert (active.next_position == active.num_tokens).all()
    for layer in range(NUM_LAYERS):
        assert active.positions[layer, 0, : active.num_tokens].tolist() == list(
            range(active.num_tokens)
        )
        frames = active.provenance.frame[layer, PREFIX : active.num_tokens]
        assert (frames.diff() >= 0).all()
        assert len(set(frames.tolist())) == 4
        if local_share:
            assert frames[-8:].tolist() == [18] * 4 + [19] * 4


def test_mean_query_equals_repeated_key_heads():
    queries, key = torch.randn(4, 7, WIDTH), torch.randn(HEADS, WIDTH)
    expected = (queries.mean(dim=1) * key.repeat_interleave(2, dim=0)).sum()
    assert mean_query(queries, HEADS) @ key.flatten() == pytest.approx(expected.item(), rel=1e-5)


def _store_of(frames: int, **options) -> FrameStore:
    memory = empty_memory()
    add_frames(memory, *random_states(frames, LENGTH))
    store = FrameStore(**options)
    store.add(memory, 0, list(range(frames)), LENGTH)
    return store


def test_byte_limit_evicts_the_oldest_and_never_grows():
    store = _store_of(40, byte_limit=3 * FRAME_BYTES + 5)
    assert [frame.number for frame in store.frames] == [37, 38, 39]
    held = sum(t.untyped_storage().nbytes() for frame in store.frames for t in frame.states)
    assert store.host_bytes == held == 3 * FRAME_BYTES
    assert len({frame.slot for frame in store.frames}) == 3
    assert store._index[0].shape[1] == 64, "freed rows are used again"


def test_thinning_keeps_an_even_spread():
    store = _store_of(40, byte_limit=6 * FRAME_BYTES, on_full="thin")
    numbers = torch.tensor([frame.number for frame in store.frames])
    assert numbers[0] == 0 and numbers[-1] == 39 and numbers.numel() == 6
    assert numbers.diff().max() <= 16, "gaps differ by at most a factor of two or so"


def test_a_store_smaller_than_a_frame_is_refused():
    with pytest.raises(ValueError, match=f"{FRAME_BYTES} bytes.*limit is 100.*host_bytes_limit"):
        _store_of(1, byte_limit=100)


def test_the_index_follows_its_frames():
    """More frames than the first index holds; scores stay those of the mean keys."""
    memory = empty_memory(capacity=700)
    keys, values = random_states(150, LENGTH)
    add_frames(memory, keys, values)
    store = FrameStore(byte_limit=100 * FRAME_BYTES)
    store.add(memory, 0, list(range(150)), LENGTH)
    query = torch.randn(HEADS * WIDTH)
    expected = keys[1, 50:].mean(dim=1).flatten(1) @ query
    assert torch.allclose(store.scores(1, query), expected, atol=1e-5)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=4, max_size=4), st.floats(1e-6, 1e6))
def test_int8_round_trip_error_is_half_a_step(numbers, factor):
    states = torch.tensor(numbers) * factor
    error = (dequantise(quantise(states)) - states).abs().max()
    largest = states.abs().max()
    assert error <= largest / 254 * (1 + 1e-4) + torch.finfo(torch.float32).tiny


def test_quantised_frames_come_back_within_the_bound():
    memory = empty_memory()
    keys, values = random_states(2, LENGTH)
    add_frames(memory, keys, values)
    store = FrameStore(quantised=True)
    store.add(memory, 0, [0, 1], LENGTH)
    back = torch.empty(2, HEADS, LENGTH, WIDTH)
    store.read(1, 2, back[0], back[1])
    for which, states in enumerate((keys, values)):
        exact = states[2, 1].transpose(0, 1)
        bound = exact.abs().amax(dim=-1, keepdim=True) / 254 + 1e-6
        assert ((back[which] - exact).abs() <= bound).all()
    assert store.host_bytes < FRAME_BYTES * 2


def test_two_speed_recall_swaps_the_past_for_the_planted_frame():
    keys, _ = random_states(20, LENGTH)
    query = torch.randn(NUM_LAYERS, 4, 5, WIDTH, generator=torch.Generator().manual_seed(3))
    for layer in range(NUM_LAYERS):
        grouped = query[layer].mean(dim=1).view(HEADS, 2, WIDTH).sum(dim=1)
        keys[layer, 6] = 5 * grouped
    policy = policy_of(
        "two_speed_recall", 24, recall_share=0.34, recent_share=0.5, keyframe_share=0.0
    )
    memory, _, _ = _watched(policy, keys=keys)
    active = _question(policy, memory, query)
    assert active.num_visual == memory.num_visual == 24, "the budget holds while answering"
    for layer in range(NUM_LAYERS):
        used = slice(PREFIX, active.num_tokens)
        frames, patches = (getattr(active.provenance, n)[layer, used] for n in ("frame", "patch"))
        assert (frames == 6).sum() == LENGTH, "the planted frame, once and whole"
        pairs = set(zip(frames.tolist(), patches.tolist(), strict=True))
        assert len(pairs) == 24, "nothing twice"
        assert {(f, p) for f in (17, 18, 19) for p in range(LENGTH)} <= pairs, "recent untouched"
        order = active.positions[layer, 0, used].argsort()
        keyed = frames * LENGTH + patches
        assert (keyed[order].diff() > 0).all(), "positions in time order"
        assert sorted(active.positions[layer, 0, used].tolist()) == list(range(PREFIX, PREFIX + 24))


def test_nothing_archived_means_nothing_to_recall():
    for name in ("rekv", "two_speed_recall"):
        policy, memory = policy_of(name, 100), empty_memory()
        add_frames(memory, *random_states(4, LENGTH))
        assert policy.recall(memory, RULE) == (memory, None)


@pytest.mark.parametrize("name", ["rekv", "two_speed_recall"])
def test_recall_stays_inside_its_positions(base, name):
    """On real position rules: what a layer recalls lies below the question in every layer."""
    engine = open_stream(base, policy=name, kv_size=24)
    watch(engine, random_frames(32))
    reached = []
    write = engine.policy._question.place

    def spy(layer, frame, patch):
        write(layer, frame, patch)
        active = engine.policy._question._memory
        used = slice(active.num_prefix, active.num_prefix + frame.numel())
        reached.append((active.positions[layer, :, used].max(), active.positions[layer, :, used]))
        starts.append(active.positions[layer, :, active.num_prefix + frame.numel()].min())

    starts: list = []
    engine.policy._question.place = spy
    ask(engine, max_new_tokens=1)
    assert len(reached) == 10, "once per layer and question"
    for (top, positions), start in zip(reached, starts, strict=True):
        assert top < start
        assert positions.min() >= engine.memory.num_prefix
        assert len(set(map(tuple, positions.T.tolist()))) == positions.shape[1], "no two alike"


def test_a_recalled_answer_differs_from_the_window(base):
    """Retrieval does something: the question's hidden state is not that of the window alone."""
    hidden = {}
    for name in ("recent", "rekv"):
        engine = open_stream(base, policy=name, kv_size=24)
        watch(engine, random_frames(32))
        memory, recall = engine.policy.recall(engine.memory, engine.rule)
        ids = engine.processor.encode("?")
        placement = engine.rule.text(len(ids))
        with memory.scratch():
            hidden[name] = engine.decoder.forward(
                memory, engine.embed(ids), placement, recall=recall
            )
    assert not torch.allclose(hidden["recent"], hidden["rekv"], atol=1e-3)


@pytest.mark.parametrize("name", ["rekv", "two_speed_recall"])
def test_only_the_tokens_of_the_question_look(base, name, monkeypatch):
    """Other options and another frame around them find the same; another question does not."""
    engine = open_stream(base, policy=name, kv_size=24)
    watch(engine, random_frames(32))
    seen: list[torch.Tensor] = []
    fill = engine.policy.fill

    def spy(memory, plan, layer, queries):
        seen.append(queries.clone())
        fill(memory, plan, layer, queries)

    monkeypatch.setattr(engine.policy, "fill", spy)

    def looks(question: str, body: str) -> list[torch.Tensor]:
        seen.clear()
        prompt = engine.get_prompt(body, mc=True)
        engine.question_answering({"question": question, "prompt": prompt}, max_new_tokens=1)
        return list(seen)

    first, second = (
        looks("Who is it?", f"Question: Who is it?\nOptions:\n{options}")
        for options in ("(A) one\n(B) two", "(A) a much longer text\n(B) what\n(C) else")
    )
    other = looks("Why is it?", "Question: Why is it?\nOptions:\n(A) one\n(B) two")
    assert len(first) == 10, "once per layer"
    for ours, same, different in zip(first, second, other, strict=True):
        assert ours.shape[1] == len("Who is it?"), "one token per character"
        assert torch.allclose(ours, same, atol=1e-5)
        assert not torch.allclose(ours, different, atol=1e-3)
    everything = looks("not in the prompt", "Question: Who?")
    prompt = engine.get_prompt("Question: Who?", mc=True)
    assert everything[0].shape[1] == len(engine.processor.encode(prompt))


def test_rows_of_a_question_in_its_prompt(base):
    processor = base.processor
    prompt = base.get_prompt("Question: Who?\nOptions:\n(A) Who?", mc=True)
    text = processor.decode_raw(
        processor.encode(prompt)[processor.rows_of("Who?", prompt)].tolist()
    )
    assert text == "Who?"
    assert processor.rows_of("Who?", prompt).start == len("\nQuestion: ")
    assert processor.rows_of("", prompt) == processor.rows_of("elsewhere", prompt) == slice(None)
