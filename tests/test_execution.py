"""Plain, fused and captured execution compute the same; a graph is replayed, not run again."""

from __future__ import annotations

import copy
import gc
import threading
import weakref

import pretended_graph
import pytest
import torch
from executions import open_and_watch
from tiny import TOLERANCE, ask, assert_same, contents, largest_error, random_frames
from tiny import watch as watch_frames

from efficiency.endless import without_end
from inference import ModelLoadError, load_model
from inference.errors import NonFiniteLogitsError
from inference.layers.execution import EXECUTIONS, choose_execution
from inference.layers.fused_layer import FusedLayer
from inference.layers.plain_layer import PlainLayer
from inference.tokens import captured_pass, graph
from video_qa.settings import run_settings

QUESTIONS = ["?", "Is it red, or is it blue, or what else could it be?", "where?"]


FAMILIES = ["llava", "qwen", "qwen3"]


@pytest.fixture(params=FAMILIES)
def base(request, load):
    """All three families."""
    return load(request.param)


@pytest.fixture
def on_cpu(monkeypatch):
    """Captured execution without a GPU."""
    monkeypatch.setattr(graph, "capture", pretended_graph.capture)
    monkeypatch.setattr("inference.layers.execution._obstacle", lambda *given: None)


def _rows(base, count, width=None, seed=0):
    """(count, width) numbers where the model is; default: hidden states."""
    width = width or base.text_config.hidden_size
    return torch.randn(count, width, generator=torch.manual_seed(seed)).to(base.device)


def _layers(base):
    layers = base.language_model.layers
    return [(PlainLayer(layer), FusedLayer(layer)) for layer in (layers[0], layers[-1])]


@torch.no_grad()
def test_a_fused_layer_is_its_modules(base):
    hidden = _rows(base, 5)
    for plain, fused in _layers(base):
        for ours, theirs in zip(fused.project(hidden), plain.project(hidden), strict=True):
            assert largest_error(ours, theirs) < TOLERANCE
        rows = _rows(base, 5, fused.num_heads * fused.width, seed=1)
        assert largest_error(fused.finish(hidden, rows), plain.finish(hidden, rows)) < TOLERANCE


@torch.no_grad()
def test_no_weight_exists_twice(base):
    layer = copy.deepcopy(base.language_model.layers[0])
    hidden = _rows(base, 3)
    fused = FusedLayer(layer)
    before = fused.project(hidden)
    names = ("q_proj", "k_proj", "v_proj")
    weights = [getattr(layer.self_attn, name).weight for name in names]
    assert len({weight.untyped_storage().data_ptr() for weight in weights}) == 1
    for weight in weights:
        weight.mul_(2)  # as whoever trains or edits the model would
    biases = [getattr(layer.self_attn, name).bias for name in names]
    for bias in biases:
        if bias is not None:
            bias.mul_(2)
    assert largest_error(fused.project(hidden)[2], 2 * before[2]) < TOLERANCE
    layer.double()
    fused.refresh()
    assert fused.project(hidden.double())[2].dtype == torch.float64


@pytest.mark.parametrize(
    ("execution", "policy"),
    [("fused", "hermes"), ("captured", "hermes"), ("captured", "uniform_frames")],
)
def test_the_same_answers_and_no_trace(base, execution, policy, on_cpu):
    plain, other = (open_and_watch(base, name, policy) for name in ("plain", execution))
    for question in QUESTIONS:
        before = contents(other)
        assert ask(other, question, 9) == ask(plain, question, 9)
        assert_same(contents(other), before)
        for stream in (plain, other):
            watch_frames(stream, random_frames(8, seed=len(stream.conv_history)))
    other.memory.check_integrity(other.max_positions)


@pytest.mark.parametrize("execution", ["fused", "captured"])
def test_the_same_draws(base, execution, on_cpu, monkeypatch):
    monkeypatch.setattr("inference.tokens.choice_state._NUM_DRAWS", 16)
    answers = []
    for name in ("plain", execution):
        stream = open_and_watch(base, name)
        asked = {"question": "?", "prompt": stream.get_prompt("?")}
        answers.append(stream.question_answering(asked, 60, temperature=3.0, seed=5))
    assert answers[0] == answers[1]
    assert len(answers[0]) > 20


def test_answers_outgrow_blocks_and_buffers(base, on_cpu, monkeypatch):
    """A graph looks at so many slots and knows one address; both change under a long answer."""
    monkeypatch.setattr("inference.abstract_hermes.TEXT_RESERVE_TOKENS", 40)
    monkeypatch.setattr("inference.tokens.captured_tokens._SPARE", 2)
    monkeypatch.setattr("inference.tokens.captured_tokens._BLOCK", 16)
    plain, other = (
        without_end(open_and_watch(base, name, "recent", chunk_frames=8))
        for name in ("plain", "captured")
    )
    first = other.memory.capacity
    before = contents(other)
    assert ask(other, "where?", 90) == ask(plain, "where?", 90)
    assert other.memory.capacity > first
    assert_same(contents(other), before)
    assert ask(other, "where?", 20) == ask(plain, "where?", 20)


def test_graphs_are_recorded_once(base, on_cpu, monkeypatch):
    recorded = []

    def counted(run, changed):
        recorded.append(run)
        return pretended_graph.capture(run, changed)

    monkeypatch.setattr(graph, "capture", counted)
    stream = open_and_watch(base, "captured")
    for question in "?!" * 2:
        ask(stream, question, 5)
    assert len(recorded) == 2  # one for questions of this length, one for tokens


def test_padding_is_not_seen(base, on_cpu, monkeypatch):
    """Whatever stands in the rows beyond the question, and in slots beyond the answer."""
    stream = open_and_watch(base, "captured")
    first = ask(stream, "?", 6)
    original = captured_pass.CapturedPass.read

    def littered(self, ids):
        self._ids.fill_(7)
        original(self, ids)

    monkeypatch.setattr(captured_pass.CapturedPass, "read", littered)
    for stack in stream.memory.stacks:
        stack.rotated[:, :, stack.num_tokens :] = 50
        stack.values[:, :, stack.num_tokens :] = 50
    assert ask(stream, "?", 6) == first


def test_after_an_answer_that_was_not_finite(base, on_cpu):
    """What it left in unused slots is never looked at: no weight of zero takes NaN away."""
    plain, stream = (open_and_watch(base, name) for name in ("plain", "captured"))
    expected = ask(plain, "?", 6)
    weight = base.language_model.embed_tokens.weight.data
    before = weight.clone()
    weight.fill_(torch.nan)
    try:
        with pytest.raises(NonFiniteLogitsError):
            ask(stream, QUESTIONS[1], 6)
    finally:
        weight.copy_(before)
    assert ask(stream, "?", 6) == expected


def test_the_next_token_is_launched_before_one_is_waited_for(base, on_cpu, monkeypatch):
    log = []
    original = captured_pass.CapturedPass.launch

    def launch(self):
        log.append("launch")
        original(self)

    monkeypatch.setattr(captured_pass.CapturedPass, "launch", launch)
    mailbox = "inference.tokens.captured_tokens.Mailbox"
    from inference.tokens.mailbox import Mailbox

    class Logged(Mailbox):
        def take(self):
            log.append("take")
            return super().take()

    monkeypatch.setattr(mailbox, Logged)
    stream = open_and_watch(base, "captured")
    stream.question_answering({"question": "?", "prompt": stream.get_prompt("?")}, 4)
    assert log in (  # the answer may end before its last token
        ["launch", "take", "launch", "launch", "take", "launch", "take", "take"],
        ["launch", "take", "launch", "launch", "take", "launch", "take"],
        ["launch", "take", "launch", "launch", "take"],
    )


def test_a_host_that_looks_cannot_be_recorded():
    numbers = torch.zeros(2)
    with pytest.raises(pretended_graph.HostLooks):
        pretended_graph.capture(lambda: numbers.add_(numbers.max().item()), [numbers])


CUDA = [torch.device("cuda", 0), torch.device("cuda", 1)]
REFUSED = {
    "eager": (CUDA[:1], "unknown execution 'eager'; known: auto, plain, fused, captured"),
    "captured": ([torch.device("cpu")], "graphs need a CUDA device.*execution='plain' always"),
}


@pytest.mark.parametrize(("execution", "case"), REFUSED.items(), ids=REFUSED)
def test_an_execution_that_cannot_be_had_is_refused(load, execution, case):
    devices, message = case
    with pytest.raises(ModelLoadError, match=message):
        choose_execution(execution, list(load("llava").language_model.layers), devices)


def test_the_command_line_knows_all_ways():
    """Without importing torch, so it has its own list."""
    assert ("auto", *EXECUTIONS) == run_settings.EXECUTIONS


def test_what_fusing_would_skip_is_not_skipped(load):
    """Hooks, adapters and quantised maps want the modules themselves to be called."""
    layers = list(copy.deepcopy(load("llava").language_model.layers))
    assert choose_execution("auto", layers, CUDA)[0] == "fused"
    with pytest.raises(ModelLoadError, match="cannot span several GPUs"):
        choose_execution("captured", layers, CUDA)
    handle = layers[3].mlp.up_proj.register_forward_hook(lambda *given: None)
    assert choose_execution("auto", layers, CUDA) == ("plain", PlainLayer)
    with pytest.raises(ModelLoadError, match="in layer 3 up_proj has a hook"):
        choose_execution("fused", layers, CUDA)
    handle.remove()
    layers[3].mlp.forward = layers[3].mlp.forward
    with pytest.raises(ModelLoadError, match="in layer 3 mlp has a hook or a forward of its own"):
        choose_execution("fused", layers, CUDA)
    del layers[3].mlp.forward
    layers[1].self_attn.q_proj = torch.nn.Sequential(layers[1].self_attn.q_proj)
    with pytest.raises(ModelLoadError, match="in layer 1 q_proj is Sequential"):
        choose_execution("fused", layers, CUDA)


@pytest.mark.gpu
@pytest.mark.parametrize("policy", ["hermes", "recent", "uniform_frames"])
@pytest.mark.parametrize("family", ["llava", "qwen", "qwen3"])
def test_graphs_on_a_gpu(checkpoint, family, policy):
    """The same tokens as module by module, question after question, in fp32."""
    loaded = load_model(checkpoint(family), kv_size=24, device="cuda", dtype="float32")[0]
    streams = [open_and_watch(loaded, name, policy) for name in ("plain", "fused", "captured")]
    for question in QUESTIONS * 2:
        answers = [ask(stream, question, 12) for stream in streams]
        assert answers[0] == answers[1] == answers[2]
        for stream in streams:
            watch_frames(stream, random_frames(8, seed=len(stream.conv_history)))


def test_weights_that_changed_are_used(base):
    """By moving there and back, by other parameters, by an edit of a head's norm."""
    layer = copy.deepcopy(base.language_model.layers[0])
    hidden = _rows(base, 3)
    plain, fused = PlainLayer(layer), FusedLayer(layer)
    attention = layer.self_attn

    def parked():
        layer.double()
        attention.v_proj.weight.data *= 2
        layer.float()

    def replaced():
        attention.k_proj.weight = torch.nn.Parameter(attention.k_proj.weight.detach().flip(0))

    def edited():
        for norm in (attention.q_norm, attention.k_norm) if fused.has_head_norms else ():
            norm.weight.mul_(3)

    with torch.no_grad():
        for change in (parked, replaced, edited):
            before = [states.clone() for states in fused.project(hidden)]
            change()
            fused.refresh()
            ours, theirs = fused.project(hidden), plain.project(hidden)
            assert all(largest_error(*pair) < 1e-4 for pair in zip(ours, theirs, strict=True))
            if change is not edited:
                assert any(largest_error(*pair) > 1e-3 for pair in zip(ours, before, strict=True))
        if fused.has_head_norms:
            weights = fused.head_weights[0]
            assert largest_error(weights, attention.q_norm.weight.float()) == 0


@torch.no_grad()
@pytest.mark.parametrize("name", ["self_attn.q_proj", "mlp.up_proj", "mlp.down_proj"])
def test_modules_that_took_the_place_of_others_are_used(base, name):
    layer = copy.deepcopy(base.language_model.layers[0])
    fused, plain = FusedLayer(layer), PlainLayer(layer)
    owner, part = name.split(".")
    setattr(getattr(layer, owner), part, copy.deepcopy(layer.get_submodule(name)))
    layer.get_submodule(name).weight.mul_(-1)
    fused.refresh()
    hidden = _rows(base, 3)
    rows = _rows(base, 3, fused.num_heads * fused.width, seed=1)
    for each in (fused, FusedLayer(layer)):  # a stream of before, and one that is opened now
        assert largest_error(each.finish(hidden, rows), plain.finish(hidden, rows)) < TOLERANCE
        pairs = zip(each.project(hidden), plain.project(hidden), strict=True)
        assert all(largest_error(*pair) < TOLERANCE for pair in pairs)


def test_weights_are_merged_once_by_however_many(base):
    layer, found = copy.deepcopy(base.language_model.layers[0]), []
    threads = [threading.Thread(target=lambda: found.append(FusedLayer(layer))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(fused._found) for fused in found}) == 1
    with torch.inference_mode():
        other = FusedLayer(copy.deepcopy(base.language_model.layers[1]))
    assert not other.module.self_attn.q_proj.weight.is_inference()


def test_layers_that_changed_their_modules_are_refused(base):
    layer = copy.deepcopy(base.language_model.layers[0])
    fused = FusedLayer(layer)
    layer.self_attn.q_proj = torch.nn.Sequential(layer.self_attn.q_proj)
    with pytest.raises(ModelLoadError, match=r"was changed .* q_proj is Sequential"):
        fused.refresh()


def test_a_choice_recorded_at_the_end_of_the_draws(base, on_cpu, monkeypatch):
    """Its rehearsals draw, too."""
    monkeypatch.setattr("inference.tokens.choice_state._NUM_DRAWS", 4)
    monkeypatch.setattr("inference.tokens.captured_tokens._MAX_PASSES", 0)  # all anew
    answers = []
    for name in ("plain", "captured"):
        stream = without_end(open_and_watch(base, name))
        asked = {"question": "?", "prompt": stream.get_prompt("?")}
        answers.append(stream.question_answering(asked, 9, temperature=1.0, seed=2))
    assert answers[0] == answers[1]


@pytest.mark.parametrize("execution", ["fused", "captured"])
def test_other_weights_serve_the_next_question_and_the_next_chunk(load, on_cpu, execution):
    base = copy.deepcopy(load("llava"))
    stream, plain = open_and_watch(base, execution), open_and_watch(base, "plain")
    assert ask(stream, "?", 5) == ask(plain, "?", 5)
    attention = base.language_model.layers[0].self_attn
    for module in (base.model.lm_head, attention.q_proj, attention.v_proj):
        module.weight = torch.nn.Parameter(module.weight.detach().flip(0))
    assert ask(stream, "?", 5) == ask(plain, "?", 5)
    attention.k_proj.weight = torch.nn.Parameter(attention.k_proj.weight.detach().flip(0))
    for each in (stream, plain):
        watch_frames(each, random_frames(8, seed=5))
    held, expected = (contents(each) for each in (stream, plain))
    assert largest_error(held["keys"], expected["keys"]) < 1e-4


def test_what_was_recorded_ends_with_its_memory(load, on_cpu):
    stream = open_and_watch(load("llava"), "captured")
    ask(stream, "?", 5)
    held = weakref.ref(stream.memory)
    stream.adopt(stream.config)
    gc.collect()
    assert held() is None


def test_hooks_send_new_streams_back_to_the_modules(load):
    """ "auto" is what was asked for, not what it meant then."""
    base = copy.deepcopy(load("llava"))
    stream = base.new_stream()
    assert stream.execution == "fused"
    base.language_model.layers[2].mlp.register_forward_hook(lambda *given: None)
    assert stream.new_stream().execution == "plain"
    with pytest.raises(ModelLoadError, match="in layer 2 mlp has a hook"):
        stream.new_stream(execution="fused")
