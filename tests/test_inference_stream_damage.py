"""Files that are no stream of this engine: refused with the reason, and the engine stays as it was.

Nearly all are written anew with a right checksum, so that what it would catch is caught by itself.
"""

from __future__ import annotations

import json
import logging
from typing import NamedTuple

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tiny import ask, assert_same, contents, open_stream, random_frames, watch

from hermes import SnapshotError
from hermes.saved import checked_file
from inference.saved.stream_file import load_stream, save_stream


class Opened(NamedTuple):
    """A stream file that is being altered."""

    tensors: dict[str, torch.Tensor]
    texts: dict[str, str]

    def in_stream(self, *path, value):
        """Set a field of the JSON text."""
        state = json.loads(self.texts["stream"])
        place = state
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value
        self.texts["stream"] = json.dumps(state)


def _set(name, index, value):
    def change(file):
        file.tensors[name][index] = value

    return change


def _count(name, value):
    return lambda file: file.texts.update({name: value})


def _dtype(name, dtype):
    return lambda file: file.tensors.update({name: file.tensors[name].to(dtype)})


def _without(name):
    return lambda file: file.tensors.pop(name)


def _cut(name, dim):
    def change(file):
        tensor = file.tensors[name]
        file.tensors[name] = tensor.narrow(dim, 0, tensor.shape[dim] - 1).clone()

    return change


def _stream(*path, value):
    return lambda file: file.in_stream(*path, value=value)


def _few_tokens(file):
    """Consistent counts of fewer tokens than the tensors have."""
    file.texts["num_tokens"] = str(int(file.texts["num_tokens"]) - 1)


def _all_prefix(file):
    file.texts["num_prefix"] = file.texts["num_tokens"]


def _swap_frames(file):
    file.tensors["frame"] = file.tensors["frame"].flip(1)


NAN = float("nan")
TURN = {"question": "?", "answer": "!", "options": {}}
CRAFTED = {
    "layers": (_cut("keys", 0), "of another model"),
    "heads": (_cut("keys", 1), "of another model"),
    "width": (_cut("keys", 3), "of another model"),
    "axes": (lambda f: f.tensors.update(positions=f.tensors["positions"][:, :0]), "another model"),
    "values of other shape": (_cut("values", 2), "values has the shape"),
    "fewer positions": (_cut("positions", 2), "positions has the shape"),
    "fewer next positions": (_cut("next_position", 0), "next_position has the shape"),
    "fewer frames": (_cut("frame", 1), "frame has the shape"),
    "keys of one number": (lambda f: f.tensors.update(keys=torch.zeros(1)), "of another model"),
    "NaN keys": (_set("keys", (3, 1, 50, 2), NAN), "layer 3: keys hold values"),
    "infinite values": (_set("values", (9, 0, 0, 0), float("inf")), "layer 9: values hold values"),
    "too large for the dtype": (
        lambda f: f.tensors.update(keys=f.tensors["keys"].double() * 1e300),
        "keys hold values that are not finite",
    ),
    "whole-number keys": (_dtype("keys", torch.int32), "keys is torch.int32"),
    "half frames": (_dtype("frame", torch.float16), "frame is torch.float16"),
    "half positions": (_dtype("positions", torch.float16), "positions is torch.float16"),
    "single seconds": (_dtype("seconds", torch.float32), "seconds is torch.float32"),
    "negative tokens": (_count("num_tokens", "-3"), "counts cannot be"),
    "too many tokens": (_count("num_tokens", "9999999"), "has the shape"),
    "too few tokens": (_few_tokens, "has the shape"),
    "tokens in words": (_count("num_tokens", "many"), "expected the numbers"),
    "negative prefix": (_count("num_prefix", "-1"), "counts cannot be"),
    "prefix beyond tokens": (_count("num_prefix", "4000"), "counts cannot be"),
    "prefix of all tokens": (_all_prefix, "a visual token stands in the prefix"),
    "shorter prefix": (_count("num_prefix", "5"), "text stands among the visual tokens"),
    "no prefix": (lambda f: f.texts.pop("num_prefix"), "expected the numbers"),
    "bound not a number": (_count("position_bound", "nan"), "counts cannot be"),
    "bound too low": (_count("position_bound", "3"), "position bound 3"),
    "bound too high": (_count("position_bound", "99999999"), "position_bound is"),
    "positions beyond the limit": (_set("positions", (0, 0, -1), 40000), "next position"),
    "all beyond the limit": (
        lambda f: (
            f.tensors["positions"][..., -1:].add_(40000),
            f.tensors["next_position"].add_(40000),
            f.texts.update(position_bound="1000000"),
        ),
        "not below the model's limit",
    ),
    "negative positions": (_set("positions", (2, 0, -1), -7), "before the end of the prefix"),
    "moved prefix": (_set("positions", (1, 0, 0), 1), "prefix has left its positions"),
    "next position too small": (_set("next_position", 4, 2), "does not lie beyond"),
    "frames out of order": (_swap_frames, "in the prefix"),
    "frame -3": (_set("frame", (0, -1), -3), "numbers are negative"),
    "frame of the future": (_set("frame", (0, -1), 4000), "frame number 4000"),
    "negative patch": (_set("patch", (0, -1), -1), "numbers are negative"),
    "NaN seconds": (_set("seconds", (0, -1), NAN), "seconds are not finite"),
    "no weight": (_set("weights", (0, -1), 0), "weights are not positive"),
    "no values": (_without("values"), "no values"),
    "no frame numbers": (_without("frame"), "no frame"),
    "extra tensors": (lambda f: f.tensors.update(more=torch.zeros(3)), "more than .* more"),
    "no stream": (lambda f: f.texts.pop("stream"), "no stream"),
    "no JSON": (lambda f: f.texts.update(stream="{'a"), "no stream"),
    "a list": (lambda f: f.texts.update(stream="[1, 2]"), "no stream"),
    "settings in words": (_stream("settings", value="all"), "no stream"),
    "history of words": (_stream("conv_history", value=["a", "b"]), "progress is damaged"),
    "history no list": (_stream("conv_history", value=3), "progress is damaged"),
    "question a number": (_stream("conv_history", value=[TURN | {"question": 3}]), "conv_history"),
    "options a list": (_stream("conv_history", value=[TURN | {"options": ["a"]}]), "conv_history"),
    "unknown turn": (_stream("conv_history", value=[TURN | {"mood": "?"}]), "progress is damaged"),
    "frames in words": (_stream("total_processed_frames", value="9"), "total_processed_frames"),
    "negative frames": (_stream("total_processed_frames", value=-9), "total_processed_frames"),
    "half frame": (_stream("total_processed_frames", value=1.5), "total_processed_frames"),
    "delay not a number": (_stream("delay_seconds", value=NAN), "delay_seconds"),
    "no tokens per frame": (_stream("tokens_per_frame", value=0), "tokens_per_frame"),
    "fresh in words": (_stream("fresh", value="yes"), "fresh"),
    "unknown progress": (_stream("mood", value=1), "progress is damaged"),
    "other fps": (
        _stream("settings", "sample_fps", value=0.5),
        "sample_fps is 0.5 in the file and",
    ),
    "other weights": (_stream("settings", "weights", value="ab"), "weights is 'ab' in the file"),
    "other prompt": (_stream("settings", "init_prompt", value="Hi"), "init_prompt is 'Hi'"),
    "other pixels": (_stream("settings", "pixels", "mean", value=[0, 0, 0]), "pixels.mean is"),
    "other family": (_stream("settings", "family", value="pear"), "family is 'pear'"),
    "other budget": (_stream("settings", "config", "kv_size", value=99), "kv_size is 99 in the"),
    "unknown field": (_stream("settings", "config", "mood", value=1), r"mood is 1 .*\(not set\)"),
}


def _saved(base, path, **options):
    """A stream with a dialogue, past its budget."""
    engine = open_stream(base, **options)
    watch(engine, random_frames(24))
    ask(engine)
    save_stream(engine, path)
    return engine


def _open(path):
    with safe_open(path, "pt") as file:
        texts = dict(file.metadata())
        return Opened({name: file.get_tensor(name) for name in file.keys()}, texts)  # noqa: SIM118


def _refuses(base, path, message, **options):
    """A busy engine refuses the file, says why, and is afterwards what it was."""
    engine = open_stream(base, **options)
    watch(engine, random_frames(16, seed=9))
    ask(engine, "!")
    before, history = contents(engine), list(engine.conv_history)
    numbers = (engine.total_processed_frames, engine.next_seconds, engine.memory.position_bound)
    with pytest.raises(SnapshotError, match=message) as error:
        load_stream(engine, path)
    assert str(path) in str(error.value)
    assert_same(contents(engine), before)
    assert engine.conv_history == history
    now = (engine.total_processed_frames, engine.next_seconds, engine.memory.position_bound)
    assert now == numbers


@pytest.fixture(scope="module")
def stream(load, tmp_path_factory):
    """The intact file of a `hermes` stream."""
    path = tmp_path_factory.mktemp("saved") / "stream.safetensors"
    _saved(load("llava"), path)
    return path


@pytest.mark.parametrize(("change", "message"), CRAFTED.values(), ids=CRAFTED)
def test_a_crafted_file_is_refused(load, stream, tmp_path, change, message):
    opened, path = _open(stream), tmp_path / "crafted"
    change(opened)
    tensors = {name: tensor.contiguous() for name, tensor in opened.tensors.items()}
    texts = {k: v for k, v in opened.texts.items() if k not in ("format", "checksum")}
    checked_file.write(path, tensors, texts)
    _refuses(load("llava"), path, message)


def _flip(content, place):
    content[place] ^= 1


def _flip_state(content):
    _flip(content, -1000)


def _flip_text(content):
    _flip(content, content.index(b"delay_seconds"))


def _truncate(content):
    del content[-500:]


@pytest.mark.parametrize("damage", [_flip_state, _flip_text, _truncate])
def test_damage_is_noticed(load, stream, tmp_path, damage):
    path, content = tmp_path / "damaged", bytearray(stream.read_bytes())
    damage(content)
    path.write_bytes(content)
    _refuses(load("llava"), path, "is damaged|cannot read")


def test_other_policy_options_are_named(load, tmp_path):
    base, path = load("llava"), tmp_path / "stream"
    _saved(base, path, policy="stratified", policy_options={"num_slices": 3})
    message = r"policy_options.num_slices is 3 in the file and 4 here\. Open"
    _refuses(base, path, message, policy="stratified", policy_options={"num_slices": 4})
    same = open_stream(
        base, policy="stratified", policy_options={"num_slices": 3, "floor_share": 0.5}
    )
    load_stream(same, path)


def test_half_an_answer_is_not_saved(load, tmp_path):
    engine = open_stream(load("llava"))
    watch(engine, random_frames(8))
    answer = engine.stream_answer("?", 4)
    next(answer)
    for touch in (save_stream, load_stream):
        with pytest.raises(RuntimeError, match="still being streamed"):
            touch(engine, tmp_path / "stream")
    answer.close()


def _as_first_format(path):
    """The file that 0.1.0 would have written of this stream."""
    opened = _open(path)
    state = json.loads(opened.texts.pop("stream"))
    config = state.pop("settings")
    state |= {"family": config["family"], "policy": config["config"]["policy"]}
    opened.texts.pop("checksum")
    texts = opened.texts | {"format": "hermes-stream-1", "stream": json.dumps(state)}
    save_file(opened.tensors, path, metadata=texts)


def test_a_stream_of_the_first_version_goes_on_with_a_warning(base, tmp_path, caplog):
    whole = _saved(base, tmp_path / "stream")
    _as_first_format(tmp_path / "stream")
    later = open_stream(base)
    with caplog.at_level(logging.WARNING):
        load_stream(later, tmp_path / "stream")
    assert "written by 0.1.0" in caplog.text
    for engine in (whole, later):
        watch(engine, random_frames(16, seed=5))
    assert ask(later) == ask(whole)
    assert_same(contents(later), contents(whole))


def test_the_first_version_is_checked_as_far_as_it_goes(load, tmp_path):
    base, path = load("llava"), tmp_path / "stream"
    _saved(base, path)
    _as_first_format(path)
    _refuses(base, path, "policy is 'hermes' in the file and 'recent' here", policy="recent")
    opened = _open(path)
    opened.tensors["keys"][0, 0, 3, 0] = NAN
    save_file(opened.tensors, path, metadata=opened.texts)
    _refuses(base, path, "keys hold values that are not finite")
