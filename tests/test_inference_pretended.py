"""Every policy and family on pretended GPUs: no device mismatch, the CPU's stream bit for bit, and
no more waits and copies than docs/benchmarks.md says.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest
from pretended_stream import run_stream, stream_on_pretended
from tiny import assert_same, contents, open_stream, random_frames, watch

from hermes.policies import POLICIES
from inference.stream_file import load_stream, save_stream

RECORD = Path(__file__).parent.parent / "docs" / "benchmarks" / "devices.json"
DEVICES = (1, 2)


@pytest.fixture(scope="module")
def on_cpu(load):
    """(family, policy) -> the stream on the CPU; each runs once."""
    return cache(lambda family, policy: run_stream(_open(load(family), policy)))


def _open(base, policy):
    return open_stream(base, policy=policy, kv_size=16)


@pytest.mark.parametrize("num_devices", DEVICES)
@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_a_stream_on_pretended_gpus_is_the_stream_on_the_cpu(
    load, family, on_cpu, policy, num_devices
):
    expected = on_cpu(family, policy)
    with stream_on_pretended(load(family), num_devices, policy=policy) as (engine, traffic):
        seen = run_stream(engine, traffic)
        places = {str(layer.device) for layer in engine.memory.layers}
    assert places == {f"cuda:{index}" for index in range(num_devices)}
    assert seen.answers == expected.answers
    assert_same(seen.held, expected.held)
    recorded = json.loads(RECORD.read_text())["costs"][family][policy][str(num_devices)]
    for part, cost in seen.costs.items():
        found = {name: value for name, value in cost._asdict().items() if name != "operators"}
        assert found == {name: recorded[part][name] for name in found}, (
            f"{part}: {sorted(seen.places[part])}; if meant, run scripts/count_waits.py"
        )
