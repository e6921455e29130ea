"""What is measured is what is said: operators, bytes, arithmetic, quantiles, shares, ratios."""

from __future__ import annotations

import pytest
import torch
from tiny import open_stream, random_frames
from torch.utils.flop_counter import FlopCounterMode

from efficiency import streams
from efficiency.counts import count_steps, parts_of, take_chunk
from efficiency.endless import without_end
from efficiency.measure import Settings, measure
from efficiency.operators import Operators
from efficiency.paths import PATHS, EnginePath, ReleasePath
from efficiency.question import question_of
from efficiency.record import free_ceiling, ratios
from efficiency.roofline import Ceilings, Work, measure_ceilings
from efficiency.spans import Spans, quantiles
from efficiency.streams import measure_streams
from efficiency.work import StreamWork
from inference import attention, load_model
from inference.errors import DeviceMemoryError
from scripts.tiny_checkpoints import save_tiny_checkpoint

SETTINGS = Settings((8, 24), 8, (56, 56), (20, 30), num_questions=2, new_tokens=3)


@pytest.fixture(autouse=True)
def _no_masks_of_other_tests():
    """Masks are remembered, and making one takes operators."""
    attention._folded_mask.cache_clear()


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    """The tiny LLaVA with 5 layers and with 10."""
    engines = []
    for layers in (5, 10):
        folder = tmp_path_factory.mktemp(f"deep{layers}")
        save_tiny_checkpoint(folder, num_hidden_layers=layers)
        engines.append(load_model(folder, kv_size=24, device="cpu", sample_fps=1)[0])
    return engines


def test_operators_and_bytes_of_a_few_lines():
    given = torch.ones(1000)
    with Operators() as mode:
        first = given + 1
        first.view(10, 100).add_(1)
        given.mul_(2)
        second = first * 2
        del first
        third = torch.cat((second, second))
    assert mode.by_name == {"add": 1, "add_": 1, "mul_": 1, "mul": 1, "cat": 1}
    assert mode.peak_bytes == 12_000 and mode.live_bytes == 12_000  # second and third
    del second, third
    assert mode.live_bytes == 0


def _full(kind, engine):
    path = kind(without_end(engine.new_stream()))
    spans = Spans(path.device, enabled=False)
    for seed in (0, 1):
        frames = random_frames(8, seed)
        path.read(path.see(frames), frames, spans)
        path.make_room(spans)
    assert path.kept is not None
    return path


def test_operators_grow_with_layers_as_they_should(deep):
    few, many = ([_count(kind, engine) for kind in (EnginePath, ReleasePath)] for engine in deep)
    ours, release = (
        {step: deeper[step] - shallower[step] for step in deeper}
        for shallower, deeper in zip(few, many, strict=True)
    )
    assert ours["vision"] == ours["compaction"] == ours["logits"] == 0  # the same for any depth
    assert all(ours[step] % 5 == 0 for step in ("token", "question", "reading"))
    assert 0 < ours["token"] < release["token"] and 0 < ours["scoring"] < release["scoring"] / 3
    assert release["compaction"] > 50 and many[1]["logits"] == 1


def _count(kind, engine) -> dict[str, int]:
    attention._folded_mask.cache_clear()
    return count_steps(_full(kind, engine), random_frames(8, 2), "what is it?").operators


@pytest.mark.parametrize("kind", PATHS.values(), ids=PATHS)
def test_counts_of_answers_are_those_of_longer_answers(kind, deep):
    """A question and two tokens take what an answer of three tokens takes, and a pass of nothing
    in the release's way."""
    path = kind(without_end(deep[0].new_stream()))
    frames = random_frames(8)
    take_chunk(path, frames, Spans(path.device, enabled=False))
    counts = count_steps(path, frames, "what is it?").operators
    take_chunk(path, frames, Spans(path.device, enabled=False))
    attention._folded_mask.cache_clear()
    with Operators() as mode:
        path.answer("what is it?", 3)
    passes = 3 if kind is ReleasePath else 2
    assert mode.count == counts["question"] + passes * counts["token"]


def _linear_flops(run) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    by_operator = counter.get_flop_counts()["Global"]
    return sum(by_operator.get(name, 0) for name in (torch.ops.aten.mm, torch.ops.aten.addmm))


def test_work_is_the_arithmetic_that_the_engine_does(family, load):
    engine = open_stream(load(family), kv_size=24)
    work, frames = StreamWork(engine), random_frames(8)
    engine.encode_init_prompt()
    chunk = engine.encode_features(frames)
    new, before = len(chunk.features), engine.memory.num_tokens
    # beside what is needed, the engine projects queries of the last layer whose rows are not used
    found = _linear_flops(lambda: engine.encode_video_chunk(frames, seen=chunk))
    needed = work.reading(new, before).flops - work.attention_flops(new, before, 0)
    assert found == needed + 2 * new * work.query_weights
    path, count = EnginePath(engine), len(engine.processor.encode("what?"))
    held = path.num_tokens
    found = _linear_flops(lambda: path.forced_logits("what?", []))
    needed = work.question(count, held).flops - work.attention_flops(count, held, 1)
    assert found == needed + 2 * (count - 1) * work.query_weights
    numbers = sum(w.numel() for w in engine.language_model.layers.parameters() if w.ndim > 1)
    numbers += engine.model.lm_head.weight.numel() + 2 * 10 * work.groups * work.width * (held + 1)
    assert work.token(held).num_bytes == numbers * 4


def test_ceilings_bind_where_they_should():
    ceilings = Ceilings(flops_per_second=100.0, bytes_per_second=10.0)
    assert ceilings.bound_seconds(Work(500, 10)) == (5.0, "arithmetic")
    assert ceilings.bound_seconds(Work(500, 70)) == (7.0, "bandwidth")
    found = measure_ceilings(torch.device("cpu"), torch.float32, side=64, num_bytes=4096)
    assert found.flops_per_second > 0 and found.bytes_per_second > 0


def test_quantiles_and_parts():
    found = quantiles([float(n) for n in range(1, 21)])
    assert found == {"p50": 10.5, "p95": 19.0, "samples": 20}
    assert quantiles([]) is None and quantiles([3.0])["p95"] == 3.0
    spans = {"vision": 1, "reading": 10, "logits": 4, "make_room": 9, "scoring": 7}
    parts = parts_of(spans)
    assert parts == {"vision": 1, "reading": 6, "logits": 4, "scoring": 7, "compaction": 2}
    assert sum(parts.values()) == 1 + 10 + 9


def test_all_ways_are_measured_at_the_same_points(load):
    engine = without_end(open_stream(load("llava"), kv_size=24))
    lanes = measure({name: kind(engine) for name, kind in PATHS.items()}, SETTINGS)
    for lane in lanes.values():
        assert list(lane.at) == [8, 24] and lane.tokens_per_chunk == 32
        for point in lane.at.values():
            assert point["ttft_20"]["samples"] == point["tpot"]["samples"] == 2
            assert point["ttft_30"]["p95"] >= point["ttft_30"]["p50"] > 0
        assert len(lane.parts) == 2 and len(lane.wholes) == 1
    held = {name: lane.at[24]["tokens_per_layer"] for name, lane in lanes.items()}
    prefix = len(engine.processor.encode(engine.init_prompt))
    kept = dict.fromkeys(("ours", "plain", "release"), prefix + 24)
    assert held == {**kept, "growing": prefix + 96}
    assert lanes["ours"].at[8]["memory_bytes"] == lanes["ours"].at[24]["memory_bytes"]
    ours, other = lanes["ours"].at[24], lanes["release"].at[24]
    found = ratios(lanes)["release"]["24"]
    assert found["frames_per_second"] == ours["frames_per_second"] / other["frames_per_second"]
    assert found["tpot"] == other["tpot"]["p50"] / ours["tpot"]["p50"]
    parts = {name: lanes["release"].median(name) for name in lanes["release"].parts[0].seconds}
    needed = parts["vision"] + parts["reading"]
    assert free_ceiling(lanes["release"]) == pytest.approx(sum(parts.values()) / needed)


class Narrow(ReleasePath):
    """A device that is full at the second chunk."""

    def read(self, chunk, frames, spans):
        if self.num_tokens > self.num_prefix:
            raise DeviceMemoryError("full")
        super().read(chunk, frames, spans)


def test_a_full_device_stops_one_way_and_keeps_what_it_measured(load):
    engine = open_stream(load("llava"), kv_size=24)
    lanes = measure({"ours": EnginePath(engine), "release": Narrow(engine)}, SETTINGS)
    assert list(lanes["ours"].at) == [8, 24] and lanes["ours"].stopped is None
    assert list(lanes["release"].at) == [8]
    assert lanes["release"].stopped == "the device is full after 8 frames: full"


class Mute(EnginePath):
    """Breaks in the middle of a round of questions."""

    def answer(self, prompt, max_new_tokens):
        if max_new_tokens == 1:
            raise RuntimeError("mute")
        return super().answer(prompt, max_new_tokens)


def test_a_way_that_breaks_ends_alone_with_what_it_measured(load):
    engine, noted = open_stream(load("llava"), kv_size=24), []
    paths = {"ours": EnginePath(engine), "mute": Mute(engine)}
    lanes = measure(paths, SETTINGS, lambda lanes: noted.append(list(lanes["ours"].at)))
    assert list(lanes["ours"].at) == [8, 24] and noted == [[8], [8, 24]]
    assert lanes["mute"].failed == "after 8 frames: RuntimeError: mute"
    assert list(lanes["mute"].at) == [8] and lanes["mute"].at[8]["frames_per_second"] > 0
    assert lanes["ours"].failed is None and lanes["ours"].counts


@pytest.mark.parametrize("kind", PATHS.values(), ids=PATHS)
def test_answers_go_on_where_the_model_would_stop(kind, load):
    engine = open_stream(load("llava"), kv_size=24)
    stop = engine.processor.tokenizer.eos_token_id

    def always_stop(_head, _given, logits):
        logits[..., stop] = 1e4
        return logits

    hook = engine.model.lm_head.register_forward_hook(always_stop)
    try:
        stopped = kind(engine).answer("what?", 3)
        endless = kind(without_end(engine)).answer("what?", 3)
    finally:
        hook.remove()
    assert stopped.per_token_seconds is None and endless.per_token_seconds > 0


def test_streams_do_not_share_a_memory(load, monkeypatch):
    engine = open_stream(load("llava"), kv_size=24)
    memories, advance = set(), streams.advance

    def noted(several, *given):
        memories.add(frozenset(id(stream.memory) for stream in several))
        advance(several, *given)

    monkeypatch.setattr(streams, "advance", noted)
    found = measure_streams(engine, (1, 3), SETTINGS)
    assert {len(each) for each in memories} == {1, 3}
    assert found["3"]["memory_bytes"] == 3 * found["1"]["memory_bytes"]
    assert found["1"]["tokens_per_second"] == pytest.approx(3 * found["1"]["answers_per_second"])


@pytest.mark.parametrize("num_tokens", [20, 300])
def test_questions_have_the_wanted_length(num_tokens, load):
    processor = load("llava").processor
    assert len(processor.encode(question_of(processor, num_tokens))) == num_tokens


@pytest.mark.parametrize(("frames", "message"), [((16, 8), "ascending"), ((12,), "whole chunks")])
def test_settings_that_make_no_sense(frames, message):
    with pytest.raises(ValueError, match=message):
        Settings(frames, 8, (56, 56))
