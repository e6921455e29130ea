"""Checkpoints that cannot be loaded say what is wrong and what to do."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import ask, random_frames, watch

from inference import MODELS, ModelLoadError, load_model
from inference.checkpoints.loading import _refuse_offload, resolve, resolve_device, tokens_per_step
from inference.checkpoints.models import ROOT

WEIGHTS, CONFIG = "model.safetensors", "config.json"


def _edit_config(folder, change):
    content = json.loads((folder / CONFIG).read_text())
    change(content)
    (folder / CONFIG).write_text(json.dumps(content))


def _delete_weight(folder):
    tensors = load_file(folder / WEIGHTS)
    del tensors[next(name for name in tensors if "layers.3.mlp.up_proj" in name)]
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def _reshape_weight(folder):
    tensors = load_file(folder / WEIGHTS)
    name = next(name for name in tensors if "layers.3.mlp.up_proj" in name)
    tensors[name] = tensors[name][:-1].clone()
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def _truncate_weights(folder):
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _delete_head(folder):
    tensors = load_file(folder / WEIGHTS)
    del tensors[
        "lm_head.weight" if "lm_head.weight" in tensors else "language_model.lm_head.weight"
    ]
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


DAMAGES = {
    "head missing though it is not tied": (
        _delete_head,
        "lacks 1 weights .*lm_head.* incomplete",
    ),
    "weight missing": (_delete_weight, "lacks 1 weights .*up_proj.* incomplete"),
    "weight of another shape": (_reshape_weight, "cannot load the weights"),
    "weights cut off": (_truncate_weights, "cannot load the weights"),
    "no weights": (lambda f: (f / WEIGHTS).unlink(), "cannot load the weights"),
    "weights are text": (lambda f: (f / WEIGHTS).write_text("<html>"), "cannot load the weights"),
    "config broken": (lambda f: (f / CONFIG).write_text("{"), "cannot read the configuration"),
    "no config": (lambda f: (f / CONFIG).unlink(), "cannot read the configuration"),
    "config mistyped": (
        lambda f: _edit_config(f, lambda c: c["text_config"].update(hidden_size="big")),
        "cannot read the configuration.*hidden_size",
    ),
    "another architecture": (
        lambda f: _edit_config(f, lambda c: c.update(model_type="bert")),
        "is a 'bert' checkpoint; known: llava_onevision, qwen2_5_vl",
    ),
    "unknown architecture": (
        lambda f: _edit_config(f, lambda c: c.update(model_type="nonsense")),
        "nonsense",
    ),
    "tokenizer broken": (lambda f: (f / "tokenizer.json").write_text("{"), "read the tokenizer"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "read the tokenizer"),
    "pixel file broken": (
        lambda f: (f / "preprocessor_config.json").write_text("{"),
        "preprocessor_config.json is not valid JSON",
    ),
    "pixel file no object": (
        lambda f: (f / "preprocessor_config.json").write_text("[]"),
        "must hold a JSON object",
    ),
    "pixel size mistyped": (
        lambda f: (f / "preprocessor_config.json").write_text('{"size": 384}'),
        "'size' must be an object",
    ),
    "pixel mean mistyped": (
        lambda f: (f / "preprocessor_config.json").write_text('{"image_mean": [0.5]}'),
        "'image_mean' must be a list of 3 numbers",
    ),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_checkpoint(checkpoint, tmp_path, damage, message):
    folder = tmp_path / "checkpoint"
    shutil.copytree(checkpoint("llava"), folder)
    damage(folder)
    with pytest.raises(ModelLoadError, match=f"(?s){message}") as error:
        load_model(folder, kv_size=24, device="cpu")
    assert str(folder) in str(error.value)


WRONG = [
    ({"kv_size": None}, "kv_size must be an integer of at least 1, got None"),
    ({"kv_size": 0}, "kv_size must be an integer of at least 1, got 0"),
    ({"kv_size": -1}, "kv_size must be .* got -1"),
    ({"kv_size": "x"}, "kv_size must be .* got 'x'"),
    ({"device": "tpu"}, "tpu"),
    ({"dtype": "int8"}, "unknown dtype 'int8'; known: float16, bfloat16, float32"),
    ({"attn": "eager"}, "unknown attn 'eager'; known: auto, sdpa, flash"),
    ({"policy": "best"}, "unknown policy 'best'.*recent"),
    ({"profile": "mine"}, "unknown profile 'mine'; known: released, paper"),
    ({"sample_fps": 0}, "sample_fps must be a positive number, got 0"),
    ({"sample_fps": -1}, "sample_fps must be a positive number"),
    ({"colour": "red"}, "unknown memory option"),
]


@pytest.mark.parametrize(("given", "message"), WRONG, ids=[str(given) for given, _ in WRONG])
def test_senseless_options(checkpoint, given, message):
    with pytest.raises(ValueError, match=message):
        load_model(checkpoint("llava"), **{"kv_size": 24, "device": "cpu", **given})


def test_senseless_pixel_caps(checkpoint):
    with pytest.raises(ModelLoadError, match="max_pixels 0"):
        load_model(checkpoint("qwen"), kv_size=24, device="cpu", max_pixels=0)


@pytest.mark.parametrize("path", ["/nowhere/model", "./model", "models/none", "one-word", "a/b/c"])
def test_a_missing_folder_says_how_to_get_one(path):
    with pytest.raises(ModelLoadError, match=r"no checkpoint at .*give the folder") as error:
        load_model(path, kv_size=24)
    assert all(key in str(error.value) for key in MODELS)


@pytest.mark.parametrize("key", [key for key in MODELS if key != "nano"])
def test_missing_weights_name_their_own_source(key, monkeypatch, tmp_path):
    monkeypatch.setattr("inference.checkpoints.models.ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    documented = (ROOT / "models/README.md").read_text()
    for asked in (key, MODELS[key].path, f"./x/{MODELS[key].path}"):
        with pytest.raises(ModelLoadError) as error:
            load_model(asked, kv_size=24)
        found = re.search(r"'hf download (\S+) --local-dir (\S+)'", str(error.value))
        assert found and found[2] == (MODELS[key].path if asked == key else asked)
        assert f"| `{key}` | `{MODELS[key].path}` | `{found[1]}` |" in documented


def test_nano_is_found_from_any_directory(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert (Path(resolve("nano")) / "config.json").is_file()
    monkeypatch.setattr("inference.checkpoints.models.ROOT", tmp_path)
    with pytest.raises(ModelLoadError, match=r"comes with the project: 'git -C .* checkout"):
        resolve("nano")


def test_tokens_of_a_frame_are_known_before_loading(checkpoint, load):
    assert tokens_per_step(checkpoint("llava")) == load("llava").tokens_per_step() == 4
    assert tokens_per_step(checkpoint("qwen")) is None
    assert tokens_per_step("llava-hf/llava-onevision-qwen2-7b-ov-hf") is None


def test_hub_ids_and_keys_are_resolved(monkeypatch, tmp_path):
    assert resolve("llava-hf/llava-onevision-qwen2-7b-ov-hf").startswith("llava-hf/")
    monkeypatch.chdir(tmp_path)
    (tmp_path / MODELS["llava_ov_7b"].path).mkdir(parents=True)
    assert resolve("llava_ov_7b") == MODELS["llava_ov_7b"].path


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "auto", torch.device("cuda")])
def test_asking_for_a_gpu_where_there_is_none(monkeypatch, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelLoadError, match="torch sees no GPU; use 'cpu'"):
        resolve_device(device)
    assert resolve_device(None) == "cpu"


def test_a_gpu_is_taken_by_default(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device(None) == "cuda"
    assert resolve_device("cuda:1") == "cuda:1"


def test_offloaded_layers_are_refused():
    class Sharded(torch.nn.Module):
        hf_device_map: dict[str, object]

    model = Sharded()
    model.hf_device_map = {"model.visual": 0, "model.layers.0": 0, "model.layers.1": "cpu"}
    with pytest.raises(ModelLoadError, match=r"too small: 1 modules \(model.layers.1"):
        _refuse_offload(model)
    model.hf_device_map = {"model.visual": 0, "model.layers.0": 1}
    _refuse_offload(model)
    model.hf_device_map = {"": "cpu"}  # everything on the CPU was asked for
    _refuse_offload(model)


def test_a_small_position_range_comes_from_the_checkpoint(tmp_path):
    from scripts.tiny_checkpoints import save_tiny_checkpoint

    folder = save_tiny_checkpoint(tmp_path, "qwen", max_positions=340)
    engine, _ = load_model(folder, kv_size=24, device="cpu", sample_fps=1)
    renumbered = 0
    for step in range(10):
        watch(engine, random_frames(8, seed=step))
        engine.memory.check_integrity(340)
        renumbered += engine.last_compression.renumbered
    assert renumbered >= 1
    assert isinstance(ask(engine, max_new_tokens=1), str)
