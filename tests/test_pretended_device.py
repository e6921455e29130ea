"""The pretended GPU itself: it refuses what a GPU refuses, and counts what a GPU waits for."""

from __future__ import annotations

import pytest
import torch
from pretended_device import DeviceMismatch, move, pretended_devices
from torch.nn.functional import scaled_dot_product_attention


@pytest.fixture
def traffic():
    with pretended_devices(2) as record:
        yield record


def pair():
    """Tensors on two devices and on the host."""
    return (
        torch.arange(6.0, device="cuda").view(2, 3),
        torch.ones(2, 3, device="cuda:1"),
        torch.ones(2, 3),
    )


MIXED = {
    "add": lambda one, other: one + other,
    "matmul": lambda one, other: one @ other.T,
    "cat": lambda one, other: torch.cat((one, other)),
    "where": lambda one, other: torch.where(one > 0, one, other),
    "index_select": lambda one, other: one.index_select(1, other[0].long()),
    "embedding": lambda one, other: torch.nn.functional.embedding(other.long(), one),
    "masked_fill": lambda one, other: one.masked_fill(other > 0, 0),
    "scatter": lambda one, other: one.scatter(1, other.long(), 0),
    "isin": lambda one, other: torch.isin(one, other),
    "attention": lambda one, other: scaled_dot_product_attention(one[None], other[None], one[None]),
    "index_put": lambda one, other: one.__setitem__(one[:, 0].long() * 0, other),
}


@pytest.mark.parametrize("name", MIXED)
@pytest.mark.parametrize("other", [1, 2], ids=["cuda:1", "cpu"])
def test_mixing_devices_raises(traffic, name, other):
    tensors = pair()
    with pytest.raises(DeviceMismatch, match=r"test_pretended_device\.py:\d+"):
        MIXED[name](tensors[0], tensors[other])
    MIXED[name](tensors[0], tensors[0].clamp(0, 1))


def test_indexing_a_host_tensor_from_a_device_raises(traffic):
    with pytest.raises(DeviceMismatch):
        torch.arange(3)[torch.zeros(2, dtype=torch.int64, device="cuda")]
    with pytest.raises(DeviceMismatch):
        pair()[0][torch.zeros(2, dtype=torch.int64, device="cuda:1")]


def test_host_numbers_may_mix_with_elementwise_operators_only(traffic):
    device = pair()[0]
    assert (device + torch.tensor(2.0)).device == torch.device("cuda:0")
    with pytest.raises(DeviceMismatch):
        torch.stack((device[0, 0], torch.tensor(1.0)))


def test_a_layer_on_one_device_refuses_states_of_another(traffic):
    layer = torch.nn.Linear(3, 3)
    move(layer, "cuda:1")
    one, other, host = pair()
    assert layer(other).device == torch.device("cuda:1")
    for states in (one, host):
        with pytest.raises(DeviceMismatch):
            layer(states)


WAITS = {
    "item": lambda x: x.sum().item(),
    "int": lambda x: int(x.sum()),
    "bool": lambda x: bool((x > 0).any()),
    "tolist": lambda x: x.tolist(),
    "nonzero": lambda x: x.nonzero(),
    "unique": lambda x: x.unique(),
    "unique_consecutive": lambda x: x.flatten().unique_consecutive(),
    "boolean index": lambda x: x[x > 1],
    "boolean write": lambda x: x.__setitem__(x > 1, x[:1, 1].expand(4)),
    "equal": lambda x: torch.equal(x, x),
    "cpu": lambda x: x.cpu(),
    "repeat_interleave": lambda x: torch.repeat_interleave(x[0].long()),
    "synchronize": lambda x: torch.cuda.synchronize(),
}
FREE = {
    "arithmetic": lambda x: x * 2 + x.sum(),
    "topk": lambda x: x.topk(2).indices.sort(),
    "masked fill": lambda x: x.__setitem__(x > 1, 0),
    "gather": lambda x: x[:, x[0].long()],
    "slices": lambda x: x[1:, :2].contiguous(),
    "non-blocking copy": lambda x: x.to("cpu", non_blocking=True),
}


@pytest.mark.parametrize("name", WAITS)
def test_what_makes_the_host_wait_is_counted_with_its_line(traffic, name):
    x = pair()[0]
    traffic.clear()
    WAITS[name](x)
    assert traffic.num_waits() == 1, traffic.waits
    assert {line.split(":")[0] for _, line in traffic.waits} == {"test_pretended_device.py"}


@pytest.mark.parametrize("name", FREE)
def test_what_does_not_wait_is_not_counted(traffic, name):
    x = pair()[0]
    traffic.clear()
    FREE[name](x)
    assert traffic.num_waits() == 0, traffic.waits


def test_copies_are_counted_by_direction(traffic):
    one, other, host = pair()
    traffic.clear()
    one.to("cuda:1"), host.cuda(), other.cpu(), one.to("cuda:0")
    host.copy_(one), one.copy_(host)
    one[0] = host[0]
    one[:, torch.tensor([0, 2])]
    ways = {way: traffic.num_copies(way) for way in ("h2d", "d2h", "d2d", "index")}
    assert ways == {"h2d": 3, "d2h": 2, "d2d": 1, "index": 1}


def test_values_are_those_of_the_host_and_views_write_through(traffic):
    x = torch.zeros(2, 3, device="cuda")
    x[:, 1:][0] = 5
    x.view(-1)[0].fill_(2)
    x[torch.tensor([1], device="cuda:0")] += 1
    assert x.cpu().tolist() == [[2, 5, 5], [1, 1, 1]]
    assert x.is_cuda and x.T.contiguous().shape == (3, 2)
    with pytest.raises(TypeError, match=r"use \.cpu\(\) first"):
        x.numpy()


def test_nothing_remains_afterwards():
    with pretended_devices(2):
        x = torch.ones(2, device="cuda:0")
    assert not torch.cuda.is_available()
    with pytest.raises(RuntimeError, match="outside pretended_devices"):
        x + 1


def test_draws_on_a_device_need_a_generator_there(traffic):
    generator = torch.Generator()
    with pytest.raises(DeviceMismatch, match="generator on cpu"):
        torch.randperm(4, generator=generator, device="cuda")
    with pytest.raises(DeviceMismatch, match="generator on cpu"):
        torch.multinomial(pair()[0][1], 1, generator=generator)


def test_a_host_number_is_never_written_to_from_a_device(traffic):
    with pytest.raises(DeviceMismatch):
        torch.zeros(()).add_(pair()[0].sum())
