"""What only a GPU runs, exercised on the CPU as far as it goes; the rule about required GPUs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny import largest_error

from efficiency.operators import Operators
from inference import ModelLoadError, attention
from inference.attention import KERNELS, choose_kernel

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def _naive_attention(queries, keys, values, scaling):
    """Loops in float64; query i of q sees the first n - q + i + 1 of n keys."""
    heads, num_new, _ = queries.shape
    group, output = heads // len(keys), torch.zeros(queries.shape, dtype=torch.float64)
    for head in range(heads):
        for row in range(num_new):
            seen = keys.shape[1] - num_new + row + 1
            logits = keys[head // group, :seen].double() @ queries[head, row].double() * scaling
            output[head, row] = logits.softmax(0) @ values[head // group, :seen].double()
    return output


@pytest.mark.parametrize("kernel", ["_folded", "_grouped_causal", "sdpa"])
@pytest.mark.parametrize(("num_new", "num_keys"), [(1, 1), (1, 9), (5, 5), (5, 12)])
def test_every_kernel_is_causal_to_the_lower_right(kernel, num_new, num_keys):
    generator = torch.Generator().manual_seed(num_keys)
    queries = torch.randn(4, num_new, 8, generator=generator)
    keys, values = torch.randn(2, 2, num_keys, 8, generator=generator)
    expected = _naive_attention(queries, keys, values, 0.35)
    ours = getattr(attention, kernel)(queries, keys, values, 0.35)
    assert largest_error(ours, expected) < 1e-5
    with Operators() as operators:
        counted = getattr(attention, kernel)(queries, keys, values, 0.35)
    assert torch.equal(counted, ours) and operators.count


OBSTACLES = [
    (CPU, torch.float16, "needs a CUDA device"),
    (CUDA, torch.float32, "needs float16 or bfloat16"),
    (CUDA, torch.float16, "flash-attn is not installed"),
]


@pytest.mark.parametrize(("device", "dtype", "message"), OBSTACLES)
def test_flash_says_what_is_in_its_way(monkeypatch, device, dtype, message):
    monkeypatch.setitem(sys.modules, "flash_attn", None)
    with pytest.raises(ModelLoadError, match=f"{message}.*attn='sdpa' always works"):
        choose_kernel("flash", device, dtype)
    assert choose_kernel("auto", device, dtype) == ("sdpa", KERNELS["sdpa"])


def test_flash_is_taken_where_it_can_run(monkeypatch):
    """With a stand-in for the package: called with (1, q, h, d), causal, and our scaling."""

    class StandIn:
        @staticmethod
        def flash_attn_func(queries, keys, values, softmax_scale, causal):
            assert causal
            parts = (part[0].transpose(0, 1) for part in (queries, keys, values))
            return attention._folded(*parts, softmax_scale).transpose(0, 1)[None]

    monkeypatch.setitem(sys.modules, "flash_attn", StandIn)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    assert choose_kernel("auto", CUDA, torch.float16)[0] == "flash"
    assert choose_kernel("sdpa", CUDA, torch.float16)[0] == "sdpa"
    name, kernel = choose_kernel("flash", CUDA, torch.bfloat16)
    states = torch.randn(4, 3, 8), *torch.randn(2, 2, 7, 8)
    assert name == "flash"
    assert torch.allclose(kernel(*states, 0.3), attention._folded(*states, 0.3))


def test_flash_needs_a_gpu_of_its_generation(monkeypatch):
    asked = []

    def turing(device):
        asked.append(device)
        return 7, 5

    monkeypatch.setitem(sys.modules, "flash_attn", object())
    monkeypatch.setattr(torch.cuda, "get_device_capability", turing)
    second = torch.device("cuda:1")
    with pytest.raises(ModelLoadError, match=r"capability 8\.0 .*cuda:1 has 7\.5.*'sdpa'"):
        choose_kernel("flash", second, torch.float16)
    assert choose_kernel("auto", second, torch.float16) == ("sdpa", KERNELS["sdpa"])
    assert asked == [second] * 2


HOOK = """
import pytest
@pytest.mark.gpu
def test_needs_a_gpu():
    pass
"""


@pytest.mark.parametrize(("required", "code", "word"), [("0", 0, "skipped"), ("1", 1, "error")])
def test_a_required_gpu_cannot_be_skipped(tmp_path, required, code, word):
    conftest = Path(__file__).with_name("conftest.py").read_text()
    (tmp_path / "conftest.py").write_text(conftest)
    (tmp_path / "test_gpu.py").write_text(HOOK)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    gpu: needs a GPU\n")
    environment = {**os.environ, "HERMES_REQUIRE_GPU": required, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "pytest", "-ra", "-p", "no:cacheprovider", "test_gpu.py"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout
    assert f"1 {word}" in done.stdout
    assert "torch sees no" in done.stdout


@pytest.mark.gpu
def test_folded_and_grouped_agree_on_the_gpu():
    states = torch.randn(4, 5, 64), *torch.randn(2, 2, 12, 64)
    moved = [state.cuda().half() for state in states]
    ours, other = (kernel(*moved, 0.1) for kernel in (attention.sdpa, attention._folded))
    assert largest_error(ours, other) < 5e-3
