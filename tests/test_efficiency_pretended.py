"""The measurements on a GPU that does not exist: devices are not mixed, the allocator is asked."""

from __future__ import annotations

import copy

import pytest
import torch
from pretended_device import pretended_devices, spread
from tiny import SIDE, random_frames

from efficiency import guard
from efficiency.endless import without_end
from efficiency.guard import SmallStream, objection
from efficiency.measure import Settings, measure
from efficiency.paths import PATHS
from efficiency.record import path_record
from efficiency.roofline import measure_ceilings
from efficiency.work import vision_work

GIB = 2**30


@pytest.fixture
def engine(request, load, monkeypatch):
    """The tiny model on one pretended GPU, whose allocator says 1 GiB now and 3 at most."""
    base = load(*request.param.split())
    model = copy.deepcopy(base.model)
    for name, answer in {
        "reset_peak_memory_stats": None,
        "memory_allocated": GIB,
        "max_memory_allocated": 3 * GIB,
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, answer=answer: answer)
    with pretended_devices(1):
        spread(model, 1)
        config = base.new_stream(kv_size=24, reindex="eager").config
        yield type(base)(model, base.processor, config, sample_fps=1)


@pytest.mark.parametrize("engine", ["llava", "qwen"], indirect=True)
def test_every_way_computes_the_same_there(engine, monkeypatch):
    """As on the CPU, where answers are longer (`test_efficiency_paths.py`)."""
    monkeypatch.setattr(guard, "NEW_TOKENS", 3)
    chunks = [random_frames(8, seed) for seed in range(3)]
    stream = SmallStream(chunks, engine, None)
    assert {name: objection(kind, stream) for name, kind in PATHS.items()} == dict.fromkeys(PATHS)


@pytest.mark.parametrize("engine", ["qwen float16"], indirect=True)
def test_everything_is_measured_there(engine):
    settings = Settings((8, 16), 8, (SIDE, SIDE), (20, 30), num_questions=1, new_tokens=2)
    without_end(engine)
    lanes = measure({name: kind(engine) for name, kind in PATHS.items()}, settings)
    ceilings = measure_ceilings(engine.device, engine.dtype, side=16, num_bytes=256)
    _, vision = vision_work(engine, random_frames(8))
    for lane in lanes.values():
        record = path_record(lane, lane.path.engine, vision, ceilings, weight_bytes=GIB)
        memory = record["memory"]
        assert (memory["working_bytes"], memory["working_by"]) == (2 * GIB, "allocator")
        assert memory["peak_bytes"] == memory["steady_bytes"] + 3 * GIB
        assert list(record["at"]) == ["8", "16"] and record["at"]["16"]["ttft_30"]["p50"] > 0
        assert record["operators"]["token"] > 0 and record["roofline"]["tpot"]["share"] > 0
