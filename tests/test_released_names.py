"""What code written for the authors' release reads, sets and calls on an engine."""

from __future__ import annotations

import pytest
import torch
from tiny import ask, assert_same, contents, open_stream, random_frames, watch

from hermes.compression import stacked_attention
from inference.answers.prompts import guidance_texts

KV_SIZE = 24


@pytest.fixture
def engine(base):
    return open_stream(base, kv_size=KV_SIZE)


@pytest.fixture
def begun(engine):
    watch(engine, random_frames(24))
    return engine


def reset_by_hand(engine) -> None:
    """As a public framework does it, in its order."""
    engine.kv_cache = None
    engine.conv_history = []
    engine._position_ids_cache = [None for _ in engine._position_ids_cache]
    engine.token_activity_cache = [None for _ in engine.token_activity_cache]
    engine.total_processed_frames = 0
    engine.last_encoded_frames = 0
    engine.visual_start_idx = 0


def test_an_engine_reset_by_hand_is_as_new(begun, base):
    ask(begun)
    reset_by_hand(begun)
    assert begun.kv_cache is None and begun._position_ids_cache == [None] * begun.num_layers
    fresh = open_stream(base, kv_size=KV_SIZE)
    for engine in (begun, fresh):
        engine.encode_init_prompt()
        watch(engine, random_frames(24, seed=5))
    assert_same(contents(begun), contents(fresh))
    assert ask(begun) == ask(fresh)


def test_forgetting_the_cache_keeps_the_dialogue(begun):
    ask(begun, "Who?")
    begun.kv_cache = None
    assert [turn.question for turn in begun.conv_history] == ["Who?"]
    assert begun.total_processed_frames == 0


def test_cache_and_positions_are_those_of_the_memory(begun):
    held = contents(begun)
    keys = torch.stack([keys[0] for keys, _ in begun.kv_cache])
    values = torch.stack([values[0] for _, values in begun.kv_cache])
    assert torch.equal(keys.cpu(), held["rotated"]) and torch.equal(values.cpu(), held["values"])
    positions = torch.stack(begun._position_ids_cache).cpu()
    assert torch.equal(positions.view_as(held["positions"]), held["positions"])
    assert begun.visual_start_idx == begun.memory.num_prefix > 0


def test_setting_what_is_there_changes_nothing_and_other_content_is_refused(begun):
    before = contents(begun)
    begun.kv_cache = [(keys.clone(), values.clone()) for keys, values in begun.kv_cache]
    begun._position_ids_cache = [positions.clone() for positions in begun._position_ids_cache]
    assert_same(before, contents(begun))
    with pytest.raises(ValueError, match="apply_kv_cache_pruning_strict"):
        begun.kv_cache = [(keys + 1, values) for keys, values in begun.kv_cache]
    with pytest.raises(ValueError, match="_position_ids_cache can be set to None"):
        begun._position_ids_cache = begun._position_ids_cache[:-1]
    with pytest.raises(ValueError, match=r"call clear_cache\(\)"):
        begun.visual_start_idx = 0
    assert_same(before, contents(begun))


def test_kv_size_is_set_before_the_stream_begins(engine, base):
    engine.kv_size = 12
    other = open_stream(base, kv_size=12)
    for stream in (engine, other):
        watch(stream, random_frames(24))
    assert engine.memory.num_visual == 12
    assert_same(contents(engine), contents(other))
    engine.kv_size = 12
    with pytest.raises(ValueError, match="kv_size is 12 for this stream, which has begun"):
        engine.kv_size = 24


def test_the_remaining_attributes(begun):
    assert begun.streaming and not open_stream(begun, reindex="eager").streaming
    assert begun.num_layers == len(begun.language_model.layers) == 10
    assert (begun.short_term_threshold, begun.long_term_threshold) == (1, 7)
    assert (begun.total_processed_frames, begun.last_encoded_frames) == (24, 8)
    assert begun.token_activity_cache == [None] * 10
    assert begun.processor.tokenizer and begun.kv_size == KV_SIZE


def test_features_can_be_recorded_while_a_chunk_is_encoded(engine):
    own, recorded = engine.get_video_features, []
    engine.get_video_features = lambda *given: recorded.append(own(*given)) or recorded[-1]
    engine.encode_video_chunk(random_frames(4).transpose(0, 3, 1, 2))
    assert len(recorded) == 1
    features = recorded[0] if engine.family == "llava" else recorded[0][0]
    assert features.shape == (engine.memory.num_visual, engine.text_config.hidden_size)


def test_guidance_can_be_given(base, monkeypatch):
    memories = {}
    usual = guidance_texts()
    for asked in (None, ("Who?", "Why?"), (usual["local"], usual["global"]), "predicted"):
        engine = open_stream(base, kv_size=KV_SIZE)
        encoded = []
        encode = type(engine.processor).encode
        monkeypatch.setattr(
            type(engine.processor),
            "encode",
            lambda self, text, encode=encode, seen=encoded: seen.append(text) or encode(self, text),
        )
        engine.encode_video_chunk(random_frames(16))
        engine.predict_and_compress() if asked == "predicted" else engine.pseudo_forward(
            *(asked or ())
        )
        monkeypatch.undo()
        memories[asked] = contents(engine), encoded
    assert {"Why?", "Who?; Why?"} <= set(memories["Who?", "Why?"][1])
    local, overall = "What is happening in the video?", "What is the main topic of the video?"
    assert {overall, f"{local}; {overall}"} <= set(memories[None][1])
    assert_same(memories[usual["local"], usual["global"]][0], memories["predicted"][0])
    with pytest.raises(AssertionError):
        assert_same(memories["Who?", "Why?"][0], memories["predicted"][0])


def _attention(engine, scores: torch.Tensor) -> list[torch.Tensor]:
    """(1, h, t, s + t) per layer whose visual columns have these (n,) means."""
    memory = engine.memory
    row = torch.zeros(memory.num_tokens + 3)
    row[memory.num_prefix : memory.num_tokens] = scores
    spread = torch.tensor([0.5, 1.5]).view(2, 1, 1) * torch.tensor([0.0, 1.0, 2.0]).view(1, 3, 1)
    return [(spread * row)[None]] * engine.num_layers


@pytest.mark.parametrize("reindex", ["lazy", "eager"])
def test_pruning_in_two_calls_is_compression(base, reindex):
    """The engine's own attention, handed to the released pair of calls, leaves the same memory."""
    ours, theirs = (open_stream(base, kv_size=KV_SIZE, reindex=reindex) for _ in range(2))
    for engine in (ours, theirs):
        engine.encode_video_chunk(random_frames(16))
    num_visual = theirs.memory.num_visual
    scores = torch.rand(num_visual, generator=torch.Generator().manual_seed(3))
    ours.guidance_attention = lambda wanted, texts: [
        stacked_attention(dict.fromkeys(wanted, scores), stack) for stack in ours.memory.stacks
    ]
    ours.predict_and_compress()
    attention = _attention(theirs, scores)
    kept = theirs.prune_kv_cache_by_attention(attention, attention, attention, num_keep=KV_SIZE)
    assert all(
        rows[: theirs.visual_start_idx].tolist() == [*range(theirs.visual_start_idx)]
        for rows in kept
    )
    assert num_visual > KV_SIZE
    theirs.apply_kv_cache_pruning_strict([rows.tolist() for rows in kept])
    assert_same(contents(ours), contents(theirs))


def test_each_layer_reads_the_text_of_its_band(base):
    engine = open_stream(base, kv_size=KV_SIZE)
    engine.encode_video_chunk(random_frames(16))
    num_visual = engine.memory.num_visual
    up, down = torch.arange(num_visual) / num_visual, torch.arange(num_visual, 0, -1) / num_visual
    by_text = [_attention(engine, scores) for scores in (up, up, up)]
    same = engine.prune_kv_cache_by_attention(*by_text)
    by_text[1] = _attention(engine, down)  # global
    other = engine.prune_kv_cache_by_attention(*by_text)
    changed = [not torch.equal(a, b) for a, b in zip(same, other, strict=True)]
    assert changed[-1] and not changed[0]


def test_pruning_without_need_keeps_everything(engine):
    engine.encode_video_chunk(random_frames(4))
    attention = _attention(engine, torch.ones(engine.memory.num_visual))
    kept = engine.prune_kv_cache_by_attention(attention, attention, attention)
    assert all(rows.tolist() == [*range(engine.memory.num_tokens)] for rows in kept)


def test_indices_of_ones_own(begun):
    before = contents(begun)
    begun.apply_kv_cache_pruning_strict([])
    assert_same(before, contents(begun))
    last = begun.memory.num_tokens - 1
    begun.apply_kv_cache_pruning_strict([[last, last - 2]] * begun.num_layers)
    assert begun.memory.num_visual == 2
    assert torch.equal(contents(begun)["values"][:, :, -2:], before["values"][:, :, [-3, -1]])
    begun.memory.check_integrity()


def test_senseless_pruning(begun):
    before, last = contents(begun), begun.memory.num_tokens - 1
    attention = _attention(begun, torch.ones(begun.memory.num_visual))
    with pytest.raises(ValueError, match=r"num_keep must be kv_size \(24\), got 23"):
        begun.prune_kv_cache_by_attention(attention, attention, attention, num_keep=23)
    short = [part[..., 1:] for part in attention]
    with pytest.raises(ValueError, match=r"expected attention \(1, heads, text, "):
        open_stream(begun).prune_kv_cache_by_attention(short, short, short)
    with pytest.raises(ValueError, match="expected indices for 10 layers, got 2"):
        begun.apply_kv_cache_pruning_strict([[20], [20]])
    with pytest.raises(ValueError, match=r"indices must lie in \[0, "):
        begun.apply_kv_cache_pruning_strict([[1000]] * 10)
    with pytest.raises(ValueError, match="same number of tokens"):
        begun.apply_kv_cache_pruning_strict([[last]] * 9 + [[last - 2, last - 1, last]])
    assert_same(before, contents(begun))


def test_room_is_made_before_answering_on_request(base):
    engine = open_stream(base, kv_size=KV_SIZE)
    engine.encode_video_chunk(random_frames(24))
    assert engine.memory.num_visual > KV_SIZE
    engine.question_answering("What?", 2, 0, 1.1, True)
    assert engine.memory.num_visual == KV_SIZE
    assert [turn.question for turn in engine.conv_history] == ["What?"]


def test_summaries_of_layers_that_are_no_neighbours_are_refused(base):
    engine = open_stream(base, kv_size=KV_SIZE, long_term_ratio=1.0, sensory_ratio=0.0)
    engine.encode_video_chunk(random_frames(16))
    before = contents(engine)
    prefix = engine.visual_start_idx
    rows = [range(prefix + 10 - (layer % 2 == 0)) for layer in range(engine.num_layers)]
    with pytest.raises(ValueError, match=r"must be neighbours; got \[0, 2, 4, 6, 8\]"):
        engine.apply_kv_cache_pruning_strict(rows)
    assert_same(before, contents(engine))


def test_one_token_and_nothing_but_a_summary(base):
    engine = open_stream(base, kv_size=KV_SIZE)
    engine.encode_video_chunk(random_frames(16))
    prefix, deep = engine.visual_start_idx, engine.long_term_threshold
    engine.apply_kv_cache_pruning_strict(
        [range(prefix + (layer < deep)) for layer in range(engine.num_layers)]
    )
    assert engine.memory.num_visual == 1
    engine.memory.check_integrity(engine.max_positions)
