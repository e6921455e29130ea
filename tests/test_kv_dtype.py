"""Memories in eight bits: what is stored, what it costs, and that every policy works on it."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pretended_stream import CHUNK_FRAMES, kv_size_of, run_stream, stream_on_pretended
from tiny import ask, assert_same, contents, open_stream, random_frames

from efficiency.operators import Operators
from hermes import SnapshotError, StreamMemory, configure
from hermes.config import KV_DTYPES
from hermes.policies import POLICIES
from hermes.policy_parts.reprefill_base import ReprefillPolicy
from hermes.positions import Placement
from hermes.saved import snapshot
from hermes.store import storage
from hermes.store.quantise import FP8, INT8, dequantise, quantise
from hermes.store.quantised_states import QuantisedStates
from hermes.store.storage import STORAGES, storage_of
from inference import answer_together, load_stream, save_stream

EIGHT_BITS = {"int8": INT8, "fp8": FP8}
FAMILIES = ("llava", "qwen", "qwen3")
CPU = torch.device("cpu")
BFLOAT16_STEP = 2.0**-8


def _vectors(seed: int, power: float, count: int, width: int) -> torch.Tensor:
    """Of magnitudes around 10 ** power, the first one zero."""
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(count, width, generator=generator) * 10.0**power
    states[0] = 0
    return states


@given(
    st.integers(0, 2**31),
    st.floats(-20, 20),
    st.integers(1, 5),
    st.sampled_from([1, 8, 64]),
    st.sampled_from([torch.float32, torch.bfloat16]),
)
@settings(max_examples=60, deadline=None)
def test_errors_are_bounded_by_the_scale(seed, power, count, width, scale_dtype):
    states = _vectors(seed, power, count, width)
    for form in EIGHT_BITS.values():
        packed = quantise(states, form, scale_dtype)
        levels, scale = packed.levels.view(form.dtype).float(), packed.scale.float()
        assert levels.abs().max() <= form.largest
        largest = states.abs().amax(dim=-1, keepdim=True)
        least = torch.finfo(torch.float32).tiny
        assert (scale <= (largest / form.largest).clamp(min=least) * (1 + BFLOAT16_STEP)).all()
        error = (dequantise(packed, form) - states).abs()
        step = scale / 2 if form is INT8 else torch.maximum(states.abs() / 16, scale / 1024)
        assert (error <= step * (1 + 1e-5)).all()


@given(st.integers(0, 2**31), st.floats(-20, 20), st.sampled_from(sorted(EIGHT_BITS)))
@settings(max_examples=60, deadline=None)
def test_what_was_read_is_stored_as_the_same_bytes(seed, power, name):
    form = EIGHT_BITS[name]
    first = quantise(_vectors(seed, power, 6, 16), form, torch.bfloat16)
    again = quantise(dequantise(first, form), form, torch.bfloat16)
    assert torch.equal(first.levels, again.levels)
    assert torch.equal(first.scale, again.scale)


@pytest.mark.parametrize("name", EIGHT_BITS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_attention_reads_what_policies_read(name, dtype):
    """Whole and in part, also after tokens have been written by their index."""
    held = storage_of(name, [CPU]).new((2, 3, 7, 16), dtype, CPU)
    held[:, :, :5] = torch.randn(2, 3, 5, 16)
    rows = torch.tensor([1, 4])
    places = rows[None, None, :, None].expand(2, 3, -1, 16)
    new = torch.randn(2, 3, 2, 16)
    held.scatter_(2, places, new)
    assert torch.equal(held.gather(2, places), held[:, :, rows])
    assert torch.equal(held.select(0, 1).index_select(1, rows), held[1, :, rows])
    assert (held[:, :, rows] - new).abs().max() <= new.abs().max() / 15
    read = held.select(0, 1).narrow(1, 0, 5).read_into(torch.empty(3, 5, 16, dtype=dtype))
    torch.testing.assert_close(read, held[1, :, :5].to(dtype), rtol=0.01, atol=1e-6)
    if dtype == torch.float32:
        assert torch.equal(read, held[1, :, :5])


def test_names_are_those_of_the_configuration():
    assert (*STORAGES,) == KV_DTYPES
    with pytest.raises(ValueError, match="unknown kv_dtype 'int4'; known: model, int8, fp8"):
        configure(kv_size=1, kv_dtype="int4")
    with pytest.raises(ValueError, match="unknown kv_dtype 'int4'; known: model, int8, fp8"):
        storage_of("int4", [CPU])


def test_a_device_that_cannot_convert_is_refused(load, monkeypatch):
    def refuse(numbers: torch.Tensor) -> torch.Tensor:
        raise TypeError("no float8 here")

    form = dataclasses.replace(FP8, levels_of=refuse)
    monkeypatch.setitem(STORAGES, "fp8", lambda: storage.EightBitStorage(form))
    expected = r"kv_dtype='fp8' cannot be used: .*float8_e4m3fn on cpu \(no float8.*kv_dtype='int8'"
    with pytest.raises(ValueError, match=expected):
        open_stream(load("llava"), kv_dtype="fp8")


def _stream(base, policy, kv_dtype, **named):
    return open_stream(base, policy=policy, kv_size=kv_size_of(base), kv_dtype=kv_dtype, **named)


def _states(held):
    return {n: t for n, t in held.items() if n.split("_")[0] in ("keys", "values", "rotated")}


def _compress(engine) -> None:
    """Whatever stays keeps its bytes, prototypes written over kept tokens excepted."""
    before, prefix = contents(engine), engine.memory.num_prefix
    renumbered = engine.memory.num_renumberings
    engine.predict_and_compress()
    after = contents(engine)
    moved = engine.memory.num_renumberings > renumbered
    for layer, rows in enumerate(engine.last_compression.kept or ()):
        rows, now = rows.cpu() + prefix, slice(prefix, prefix + len(rows))
        same = before["weights"][layer, rows] == after["weights"][layer, now]
        assert same.float().mean() > 0.5
        for name, states in _states(after).items():
            if not (moved and name.startswith("rotated")):
                left, right = before[name][layer][:, rows], states[layer][:, now]
                assert torch.equal(left[:, same], right[:, same]), name


@pytest.mark.parametrize("policy", sorted(POLICIES))
@pytest.mark.parametrize("family", FAMILIES)
def test_every_policy_works_on_int8(load, family, policy, tmp_path):
    """What stays keeps its bytes, questions leave no trace, and a saved stream goes on exactly."""
    base = load(family)
    engine = _stream(base, policy, "int8")
    for step in range(3):
        engine.encode_video_chunk(random_frames(CHUNK_FRAMES[family], seed=step))
        _compress(engine)
        engine.memory.check_integrity(engine.max_positions)
    before = contents(engine)
    ask(engine)
    assert_same(contents(engine), before)
    save_stream(engine, tmp_path / "stream")
    later = _stream(base, policy, "int8")
    load_stream(later, tmp_path / "stream")
    assert_same(contents(later), before)
    for stream in (engine, later):
        stream.encode_video_chunk(random_frames(CHUNK_FRAMES[family], seed=9))
        stream.predict_and_compress()
    assert ask(later, "!") == ask(engine, "!")
    assert_same(contents(later), contents(engine))
    if not issubclass(POLICIES[policy], ReprefillPolicy):
        assert isinstance(engine.memory.layers[0].keys, QuantisedStates)
        assert len(_states(before)) == 6 and before["keys"].abs().sum() > 0


OTHER_PATHS = [
    ("hermes", {"budget_weights": (0.5, 1.0, 1.5), "summary": "weighted", "reindex": "eager"}),
    ("hermes", {"probe": "exact"}),
    ("two_speed", {"policy_options": {"attention_weight": 0.5}}),
    ("rekv", {"policy_options": {"quantised": True, "local_share": 0.5}}),
    ("two_speed_recall", {"policy_options": {"quantised": False, "recall_share": 1.0}}),
]


@pytest.mark.parametrize("kv_dtype", EIGHT_BITS)
@pytest.mark.parametrize(("policy", "named"), OTHER_PATHS)
def test_other_paths(load, policy, named, kv_dtype):
    engine = _stream(load("llava"), policy, kv_dtype, **named)
    run = run_stream(engine)
    assert engine.describe()["kv_dtype"] == kv_dtype
    again = run_stream(_stream(load("llava"), policy, kv_dtype, **named))
    assert again.answers == run.answers
    assert_same(again.held, run.held)


@pytest.mark.parametrize("policy", ["hermes", "rekv"])
def test_two_devices_and_no_wait_more(load, policy):
    base = load("llava")
    alone = run_stream(_stream(base, policy, "int8"))
    found = {}
    for kv_dtype in ("model", "int8"):
        with stream_on_pretended(base, 2, policy=policy, kv_dtype=kv_dtype) as (engine, traffic):
            found[kv_dtype] = run_stream(engine, traffic)
    assert found["int8"].answers == alone.answers
    assert_same(found["int8"].held, alone.held)
    for part, cost in found["int8"].costs.items():
        plain = found["model"].costs[part]
        assert (cost.waits, cost.copies) == (plain.waits, plain.copies), part


def _angles(positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    shape = (positions.shape[-1], WIDTH)
    return torch.ones(shape), torch.zeros(shape)


WIDTH = 64


def _memory(kv_dtype, layers=28, heads=4, width=WIDTH, capacity=256, dtype=torch.float16):
    return StreamMemory([CPU] * layers, heads, width, capacity, dtype, _angles, kv_dtype=kv_dtype)


@pytest.mark.parametrize("kv_dtype", EIGHT_BITS)
@pytest.mark.parametrize(("layers", "heads", "width"), [(24, 2, 64), (36, 2, 128), (28, 4, 128)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_bytes(kv_dtype, layers, heads, width, dtype):
    """Of LLaVA-OneVision 0.5B, Qwen2.5-VL 3B and 7B: with scales and what reading takes."""
    shape = {"layers": layers, "heads": heads, "width": width, "dtype": dtype}
    ours, plain = _memory(kv_dtype, **shape), _memory("model", **shape)
    origin = sum(stack.origin.num_bytes + stack.positions.nbytes for stack in plain.stacks)
    assert (ours.num_bytes - origin) / (plain.num_bytes - origin) <= 0.55
    states = 3 * layers * heads * 256 * width * 2
    assert plain.num_bytes - origin == pytest.approx(states, rel=1e-3)
    tokens = heads * 256
    saved = 3 * layers * tokens * (2 * width - width - 2) - 2 * 2 * tokens * width
    assert plain.num_bytes - ours.num_bytes == saved
    if width == 128:
        assert ours.num_bytes / plain.num_bytes <= 0.55


@pytest.mark.parametrize("kv_dtype", EIGHT_BITS)
def test_a_decoded_token_allocates_no_layer(kv_dtype):
    memory = _memory(kv_dtype, layers=3, capacity=1500)

    def read(count: int) -> torch.Tensor:
        states = torch.randn(4, count, WIDTH).half()
        with memory.append(Placement(torch.arange(count).view(1, -1), count)) as angles:
            return [memory.write(layer, states, states, *angles(layer)) for layer in range(3)][-1]

    read(2000)  # grows
    read(1)
    places = [scratch.data_ptr() for scratch in memory.storage._scratch.values()]
    before = memory.num_bytes
    with Operators() as operators:
        keys, values = read(1)
    assert operators.peak_bytes < 4 * 2000 * WIDTH / 4
    assert [keys.data_ptr()] == places and keys.shape == values.shape == (4, 2002, WIDTH)
    assert memory.num_bytes == before


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_near_those_of_the_model(load, family):
    """Errors are those of rounding: there, and small against the logits' own spread."""
    base = load(family)
    logits = {}
    for kv_dtype in KV_DTYPES:
        engine = _stream(base, "none", kv_dtype)
        engine.encode_video_chunk(random_frames(8))
        with engine.memory.scratch():
            hidden = engine.read_text("What is there?", output="all")
        logits[kv_dtype] = base.model.lm_head(hidden)
    spread = logits["model"].std()
    error = {name: ((logits[name] - logits["model"]).std() / spread).item() for name in EIGHT_BITS}
    assert 1e-5 < error["int8"] < 0.02 and error["int8"] < error["fp8"] < 0.1, error


def test_files_say_how_they_were_saved(load, tmp_path):
    path, base = tmp_path / "stream", load("llava")
    engine = _stream(base, "hermes", "int8")
    engine.encode_video_chunk(random_frames(4))
    save_stream(engine, path)
    for other in ("model", "fp8"):
        with pytest.raises(SnapshotError, match=f"kv_dtype is 'int8' in the file and '{other}' h"):
            load_stream(_stream(base, "hermes", other), path)
    snapshot.save(engine.memory, path, {"note": "yes"})
    assert snapshot.load(_stream(base, "hermes", "int8").memory, path) == {"note": "yes"}
    for other in ("model", "fp8"):
        with pytest.raises(SnapshotError, match="open the stream with kv_dtype='int8'"):
            snapshot.load(_stream(base, "hermes", other).memory, path)
    plain = _stream(base, "hermes", "model")
    plain.encode_video_chunk(random_frames(4))
    snapshot.save(plain.memory, path)
    with pytest.raises(SnapshotError, match="open the stream with kv_dtype='model'"):
        snapshot.load(engine.memory, path)


def test_streams_side_by_side_answer_in_turn(load):
    streams = open_stream(load("llava"), kv_dtype="int8").new_streams(2)
    for seed, stream in enumerate(streams):
        stream.encode_video_chunk(random_frames(6, seed=seed))
        stream.predict_and_compress()
    before = [contents(stream) for stream in streams]
    together = answer_together(streams, ["?", "What?"], 4)
    for stream, held, answer in zip(streams, before, together, strict=True):
        assert_same(contents(stream), held)
        assert stream.conv_history[-1].answer == answer
        assert stream.last_timing is not None


def test_a_policys_text_and_a_face_set_it(checkpoint):
    import hermes

    folder = checkpoint("llava")
    text = hermes.open(folder, kv_size=24, device="cpu", policy="hermes:kv_dtype=int8")
    named = hermes.open(folder, kv_size=24, device="cpu", kv_dtype="int8")
    plain = hermes.open(folder, kv_size=24, device="cpu")
    assert text.engine.config.kv_dtype == "int8"
    assert text.num_bytes == named.num_bytes < 0.5 * plain.num_bytes
    assert plain.new_stream(kv_dtype="int8").num_bytes == text.num_bytes
