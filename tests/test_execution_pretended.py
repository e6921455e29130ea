"""Executions on GPUs that do not exist: waits, copies and operators of recorded passes.

Apart from test_execution.py, because a GPU that exists would be mixed up with those.
"""

from __future__ import annotations

import copy
from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from executions import open_and_watch, open_by
from pretended_device import pretended_devices, spread
from tiny import ask, random_frames
from tiny import watch as watch_frames

from efficiency.endless import without_end
from inference.tokens import captured_pass, graph

pytestmark = pytest.mark.skipif(
    torch.cuda.is_available(), reason="a GPU that exists is mixed up with those that do not"
)


@pytest.fixture(params=["llava", "qwen", "qwen3"])
def host_base(request, load_on_host):
    """A model on the CPU, to be put on a pretended device."""
    return load_on_host(request.param)


def _run_again(run, changed):
    return SimpleNamespace(replay=run, is_valid=True)


def _drawn(stream):
    asked = {"question": "?", "prompt": stream.get_prompt("?")}
    return stream.question_answering(asked, 4, temperature=1.0, seed=3)


def test_a_recorded_pass_neither_waits_nor_copies(host_base, monkeypatch):
    """On a device, whose graphs may do neither; and a token waits for the one before it alone."""
    monkeypatch.setattr("inference.layers.execution._obstacle", lambda *given: None)
    monkeypatch.setattr(graph, "capture", _run_again)
    model, inside, costs = copy.deepcopy(host_base.model), [], []
    original = captured_pass.CapturedPass._run
    with pretended_devices(1) as traffic:
        spread(model, 1)
        stream = without_end(open_by(host_base, model, "captured"))
        watch_frames(stream, random_frames(20))

        def watched(self):
            before = traffic.num_waits(), traffic.num_copies()
            original(self)
            inside.append((traffic.num_waits() - before[0], traffic.num_copies() - before[1]))

        monkeypatch.setattr(captured_pass.CapturedPass, "_run", watched)
        for count in (2, 3, 6):
            traffic.clear()
            answer = ask(stream, "?", count)
            waits = Counter(kind for kind, _ in traffic.waits.elements())
            costs.append((waits, traffic.num_copies("h2d", "index"), traffic.num_copies("d2h")))
        drawn = _drawn(stream)
    plain = without_end(open_and_watch(host_base, "plain"))
    assert (answer, drawn) == (ask(plain, "?", 6), _drawn(plain))
    assert set(inside) == {(0, 0)}
    (_, uploads, sent), (waits, more_uploads, more_sent) = costs[1:]
    assert (more_uploads - uploads, more_sent - sent) == (0, 3)
    assert waits - costs[1][0] == {"event synchronize": 3}


def _operators_per_token(base, num_layers):
    """Of a token on a device with `num_layers` layers."""
    model = copy.deepcopy(base.model)
    del model.model.language_model.layers[num_layers:]
    model.config.get_text_config().num_hidden_layers = num_layers
    counts = []
    with pretended_devices(1) as traffic:
        spread(model, 1)
        stream = without_end(open_by(base, model, "fused"))
        watch_frames(stream, random_frames(8))
        ask(stream, "?", 1)
        for count in (3, 5):
            traffic.clear()
            ask(stream, "?", count)
            counts.append(sum(traffic.operators.values()))
    return (counts[1] - counts[0]) / 2


def test_operators_per_token_and_layer(host_base):
    few, many = (_operators_per_token(host_base, count) for count in (4, 8))
    assert (many - few) / 4 <= 15
    beside = few - (many - few)
    assert beside <= 32  # embedding, angles, norm, head, choice
