"""Pretended GPUs: tensors that report cuda:0, cuda:1, ..., lie in host memory and compute there.

Inside `pretended_devices()` a model moved to "cuda:0" behaves as on a GPU as far as devices go:
an operator whose tensors lie on different devices raises, as torch would, and everything that makes
the host wait or copies between devices is counted with the line that caused it. Values are those of
the CPU, so a stream must be the CPU's bit for bit.

Kernels that only a GPU has (flash attention, graphs) are not there, nor is its memory limit.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch
from pretended_streams import Streams
from torch import Tensor
from torch.nn.attention.bias import CausalBias
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

ROOT = Path(__file__).resolve().parent.parent
OURS = tuple(str(ROOT / package) for package in ("hermes", "inference"))
aten = torch.ops.aten
HOST = torch.device("cpu")


class DeviceMismatch(RuntimeError):
    """An operator met tensors of different devices."""


@dataclass
class Traffic:
    """What has happened since the last `clear`, each with the line that caused it."""

    waits: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(operator, line): the host stood still until the device had finished."""
    copies: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(direction, line); directions are h2d, d2h, d2d and `index` for host indices into device
    tensors, which torch copies without being asked."""
    operators: Counter[str] = field(default_factory=Counter)
    """Operator -> calls on device tensors; views are free and left out."""
    uploads: Counter[tuple[str, bool]] = field(default_factory=Counter)
    """(line, whether the host went on at once): from the host, where a copy is asynchronous only
    if it is non-blocking and the memory is pinned."""
    streams: Streams = field(init=False)
    """The order of issue, which `clear` leaves alone."""

    def __post_init__(self) -> None:
        self.streams = Streams(self._waited)

    def clear(self) -> None:
        """Start again at nothing."""
        for counter in (self.waits, self.copies, self.operators, self.uploads):
            counter.clear()

    def _waited(self, kind: str) -> None:
        self.waits[kind, caller()] += 1
        self.streams.synchronized()

    def num_waits(self) -> int:
        """All waits."""
        return sum(self.waits.values())

    def num_copies(self, *directions: str) -> int:
        """Copies in these directions, by default in all."""
        return sum(
            count for (way, _), count in self.copies.items() if not directions or way in directions
        )


class PretendedTensor(Tensor):
    """A tensor on a device that does not exist; `held` is its host tensor, strides and all."""

    held: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: Tensor, device: torch.device) -> PretendedTensor:
        return torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=device,
        )

    def __init__(self, held: Tensor, device: torch.device) -> None:
        self.held = held

    def data_ptr(self) -> int:
        """Where the host holds it."""
        return self.held.data_ptr()

    @property
    def data(self) -> Tensor:  # type: ignore[override]
        """As of any tensor."""
        return Tensor.data.__get__(self)

    @data.setter
    def data(self, new: PretendedTensor) -> None:
        Tensor.data.__set__(self, new)
        self.held = new.held

    def record_stream(self, stream: Any) -> None:  # type: ignore[override]
        """Torch refuses a stream that is not its own."""
        stream.streams.recorded(self.held, stream)

    def __repr__(self) -> str:  # type: ignore[override]
        return f"PretendedTensor({self.held!r}, device={self.device})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{func} on a pretended device outside pretended_devices()")


class _Dispatch(TorchDispatchMode):
    """Runs every operator on the host and checks devices as a GPU would."""

    def __init__(self, traffic: Traffic) -> None:
        super().__init__()
        self.traffic = traffic

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled here; asking torch's compiler costs more than most operators."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs) if kwargs else {}
        target = _device_argument(kwargs)
        if target is None and PretendedTensor not in types:
            return func(*args, **kwargs)
        tensors = _tensors((args, kwargs) if kwargs else args)
        if func in _COPIES:
            return self._copy(func, tensors, args, kwargs, target)
        device = target or self._common(func, tensors, args)
        generator = kwargs.get("generator")
        if generator is not None and generator.device.type != device.type:
            raise DeviceMismatch(f"{func}: a generator on {generator.device} at {caller()}")
        self._note(func)
        if "device" in kwargs:
            kwargs["device"] = HOST
        kwargs.pop("pin_memory", None)
        return self._launch(func, tensors, args, kwargs, device)

    def _copy(self, func: Any, tensors: list[Tensor], args: Any, kwargs: Any, target: Any) -> Any:
        """`_to_copy` and `copy_`: the two ways from one device to another."""
        if func is aten.copy_.default:
            here, there = args[0].device, args[1].device
            self._count(args[1], here, bool(len(args) > 2 and args[2]))
            return self._launch(func, tensors, args, kwargs, here)
        here, there = tensors[0].device, target or tensors[0].device
        if "device" in kwargs and kwargs["device"] is not None:
            there = _indexed(torch.device(kwargs["device"]))
            kwargs["device"] = HOST
        self._count(tensors[0], there, bool(kwargs.pop("non_blocking", False)))
        source = tensors[0].held if here.type == "cuda" else tensors[0]
        result = func(source, **kwargs)
        read, made = [source] * (here.type == "cuda"), [result] * (there.type == "cuda")
        self.traffic.streams.launched("copy", read, made, mutates=False)
        return PretendedTensor(result, there) if made else result

    def _count(self, source: Tensor, there: torch.device, non_blocking: bool) -> None:
        count_copy(self.traffic, source.device, there, non_blocking)
        if source.device == HOST and there.type == "cuda":
            at_once = non_blocking and getattr(source, "pretended_pinned", False)
            self.traffic.uploads[caller(), at_once] += 1

    def _launch(
        self, func: Any, tensors: list[Tensor], args: Any, kwargs: Any, device: torch.device
    ) -> Any:
        """`tensors`: those in `args` and `kwargs`."""
        known = {id(t.held): t for t in tensors if isinstance(t, PretendedTensor)}
        result = _run(func, known, args, kwargs, device)
        kernel = _kernel_of(func)
        if not kernel.is_view:
            read = [t.held for t in known.values()]
            self.traffic.streams.launched(kernel.name, read, _held(result), kernel.mutates)
        return result

    def _common(self, func: Any, tensors: list[Tensor], args: Any) -> torch.device:
        """The one device of all tensors; host scalars may stand in elementwise operators."""
        if func in _INDEXING:
            return self._indexing(func, args)
        found = {t.device for t in tensors if isinstance(t, PretendedTensor)}
        strangers = [t for t in tensors if not isinstance(t, PretendedTensor)]
        if len(found) == 1 and not strangers:
            return found.pop()
        written_on_host = func._schema.is_mutable and not isinstance(args[0], PretendedTensor)
        pointwise = torch.Tag.pointwise in func.tags and not written_on_host
        if len(found) == 1 and all(t.dim() == 0 and pointwise for t in strangers):
            return found.pop()
        raise DeviceMismatch(
            f"{func}: expected all tensors to be on the same device, found "
            f"{[str(t.device) for t in tensors]} at {caller()}"
        )

    def _indexing(self, func: Any, args: Any) -> torch.device:
        indices = [index for index in args[1] if index is not None]
        check_indices(self.traffic, args[0], indices, list(args[2:3]))
        return args[0].device

    def _note(self, func: Any) -> None:
        kernel = _kernel_of(func)
        if not (kernel.is_view or kernel.is_free):
            self.traffic.operators[f"aten.{kernel.name}"] += 1
        if kernel.waits:
            self.traffic.waits[kernel.name, caller()] += 1


_COPIES = {aten._to_copy.default, aten.copy_.default}
_INDEXING = {
    aten.index.Tensor,
    aten.index_put.default,
    aten.index_put_.default,
    aten._index_put_impl_.default,
}
_WAITING = {
    aten._local_scalar_dense,
    aten.nonzero,
    aten.masked_select,
    aten._unique2,
    aten.unique_consecutive,
    aten.unique_dim,
    aten.equal,
    aten.is_nonzero,
}
_FREE = {aten.detach, aten.alias, aten.lift_fresh, aten.empty, aten.empty_like, aten.new_empty}


class _Kernel(NamedTuple):
    """What torch knows of an operator, asked once."""

    name: str
    is_view: bool
    is_free: bool
    mutates: bool
    waits: bool


@cache
def _kernel_of(func: Any) -> _Kernel:
    packet = func.overloadpacket
    return _Kernel(
        str(packet).removeprefix("aten."),
        func.is_view,
        packet in _FREE,
        func._schema.is_mutable,
        packet in _WAITING or func is aten.repeat_interleave.Tensor,
    )


class _Functions(TorchFunctionMode):
    """What never reaches an operator, or reaches it too late."""

    def __init__(self, traffic: Traffic) -> None:
        super().__init__()
        self.traffic = traffic

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if not kwargs and func not in _WATCHED:
            return func(*args)
        kwargs = dict(kwargs or {})
        if func is Tensor.pin_memory:
            return _pinned(args[0])
        if func is Tensor.cuda:
            func, args = Tensor.to, (args[0], *(args[1:] or ("cuda",)))
        if func is Tensor.to:
            args = tuple(_with_index(argument) for argument in args)
        if "device" in kwargs:
            kwargs["device"] = _with_index(kwargs["device"])
        if kwargs.get("pin_memory"):
            kwargs["pin_memory"] = False
        if func in (torch.tensor, torch.as_tensor) and not isinstance(args[0], Tensor):
            device = kwargs.pop("device", None)
            result = func(*args, **kwargs)
            return result if device is None else result.to(device)
        special = _SPECIAL.get(func)
        if special and any(isinstance(leaf, PretendedTensor) for leaf in _tensors(args)):
            result = special(self.traffic, func, args, kwargs)
            if special in _KERNELS:
                written = _held(args[:1]) if func is Tensor.__setitem__ else []
                self.traffic.streams.launched(
                    func.__name__, _held((args, kwargs)), written or _held(result), bool(written)
                )
            return result
        return func(*args, **kwargs)


def _pinned(tensor: Tensor) -> Tensor:
    """A copy in host memory from which a device reads by itself."""
    assert tensor.device == HOST, "only host memory is pinned"
    pinned = tensor.clone()
    pinned.pretended_pinned = True  # type: ignore[attr-defined]
    return pinned


def _item(traffic: Traffic, func: Any, args: Any, kwargs: Any) -> Any:
    """`tensor[index]`, and with a value `tensor[index] = value`."""
    tensor, index, *value = args
    indices = _tensors(index)
    values = [given for given in value if isinstance(given, Tensor)]
    if indices:
        check_indices(traffic, tensor, indices, values, fills=bool(value) and not values)
        traffic.operators["index"] += tensor.device.type == "cuda"
    elif values:
        count_copy(traffic, values[0].device, tensor.device, non_blocking=False)
    elif value:
        traffic.operators["fill"] += 1
    given = _bare((tensor, index, *value))
    with torch._C._DisableTorchDispatch():
        found = func(*given)
    return None if value else PretendedTensor(found, tensor.device)


def _kernel(name: str) -> Callable[..., Tensor]:
    """One operator of a GPU, whatever it is taken apart into on the host; a causal bias says where
    rows may look and has no data, kernels make of it what they need."""

    def launch(traffic: Traffic, func: Any, args: Any, kwargs: Any) -> Tensor:
        given = _tensors((args, kwargs))
        tensors = [leaf for leaf in given if not isinstance(leaf, CausalBias)]
        devices = {leaf.device for leaf in tensors}
        if len(devices) != 1:
            raise DeviceMismatch(f"{name}: {devices} at {caller()}")
        traffic.operators[name] += 1
        args, kwargs = _bare((args, kwargs))
        with torch._C._DisableTorchDispatch():
            return PretendedTensor(func(*args, **kwargs), devices.pop())

    return launch


_attention, _rms_norm = _kernel("scaled_dot_product_attention"), _kernel("rms_norm")


def _tolist(traffic: Traffic, func: Any, args: Any, kwargs: Any) -> Any:
    traffic.waits["tolist", caller()] += 1
    return args[0].held.tolist()


def _contiguous(traffic: Traffic, func: Any, args: Any, kwargs: Any) -> Tensor:
    tensor = args[0]
    whole = tensor.held.contiguous(**kwargs)
    if whole is tensor.held:
        return tensor
    traffic.operators["copy"] += 1
    return PretendedTensor(whole, tensor.device)


def _numpy(traffic: Traffic, func: Any, args: Any, kwargs: Any) -> Any:
    raise TypeError("can't convert cuda tensor to numpy; use .cpu() first")


def _instead(operator: Callable[..., Any]) -> Callable[..., Any]:
    return lambda traffic, func, args, kwargs: operator(*args, **kwargs)


_SPECIAL: dict[Any, Callable[..., Any]] = {
    Tensor.__getitem__: _item,
    Tensor.__setitem__: _item,
    Tensor.tolist: _tolist,
    Tensor.contiguous: _contiguous,
    Tensor.numpy: _numpy,
    torch.nn.functional.scaled_dot_product_attention: _attention,
    torch.nn.functional.rms_norm: _rms_norm,
    Tensor.nonzero: _instead(aten.nonzero.default),
    torch.nonzero: _instead(aten.nonzero.default),
    Tensor.__invert__: _instead(aten.bitwise_not.default),
    Tensor.copy_: _instead(aten.copy_.default),
    Tensor.__int__: _instead(lambda tensor: int(tensor.item())),
    Tensor.__float__: _instead(lambda tensor: float(tensor.item())),
    Tensor.__bool__: _instead(lambda tensor: bool(tensor.item())),
    Tensor.__index__: _instead(lambda tensor: int(tensor.item())),
}
"""Functions that ask the driver for the current device before they reach their operator."""
_KERNELS = {_item, _attention, _rms_norm, _contiguous}
"""Those of them that do not reach it."""
_WATCHED = {*_SPECIAL, Tensor.pin_memory, Tensor.cuda, Tensor.to, torch.tensor, torch.as_tensor}
"""What `_Functions` looks at without keywords, too."""


def count_copy(
    traffic: Traffic, here: torch.device, there: torch.device, non_blocking: bool
) -> None:
    """Note a copy; one to the host also waits unless it is told not to."""
    if here == there:
        traffic.operators["copy"] += here.type == "cuda"
        return
    direction = "d2d" if here.type == there.type else ("h2d", "d2h")[there.type == "cpu"]
    line = caller()
    traffic.copies[direction, line] += 1
    if direction == "d2h" and not non_blocking:
        traffic.waits["copy to host", line] += 1


def check_indices(
    traffic: Traffic,
    source: Tensor,
    indices: list[Tensor],
    values: list[Tensor],
    *,
    fills: bool = False,
) -> None:
    """Host indices into a device tensor are allowed, and copied; nothing else may be mixed.

    A mask that is filled with a number (`fills`) is not looked at by the host.
    """
    here = source.device
    wrong = [t for t in indices if t.device not in (here, HOST)]
    wrong += [t for t in values if t.device != here and t.dim()]
    if wrong:
        devices = sorted({str(t.device) for t in (source, *indices, *values)})
        raise DeviceMismatch(f"indexing mixes {', '.join(devices)} at {caller()}")
    if here == HOST:
        return
    if num_host := sum(index.device == HOST for index in indices):
        traffic.copies["index", caller()] += num_host
    masked = any(index.dtype in (torch.bool, torch.uint8) for index in indices)
    if masked and not fills and not (values and values[0].device == HOST):
        traffic.waits["boolean index", caller()] += 1


def _tensors(tree: Any) -> list[Tensor]:
    """All tensors in nested arguments."""
    found: list[Tensor] = []
    waiting = [tree]
    for part in waiting:  # grows while it is read
        if isinstance(part, Tensor):
            found.append(part)
        elif isinstance(part, list | tuple):
            waiting += part
        elif isinstance(part, dict):
            waiting += part.values()
    return found


def _mapped(tree: Any, kind: type, change: Callable[[Any], Any]) -> Any:
    """Nested arguments or results, every leaf of a kind changed."""
    if isinstance(tree, kind):
        return change(tree)
    if isinstance(tree, list | tuple):
        return type(tree)([_mapped(part, kind, change) for part in tree])
    if isinstance(tree, dict):
        return {key: _mapped(part, kind, change) for key, part in tree.items()}
    return tree


def _held(tree: Any) -> list[Tensor]:
    """What the device tensors in nested arguments hold."""
    return [leaf.held for leaf in _tensors(tree) if isinstance(leaf, PretendedTensor)]


def _bare(tree: Any) -> Any:
    if isinstance(tree, PretendedTensor):
        return tree.held
    if isinstance(tree, list | tuple | dict):
        return _mapped(tree, PretendedTensor, _bare)
    return tree


def _run(
    func: Any, known: dict[int, PretendedTensor], args: Any, kwargs: Any, device: torch.device
) -> Any:
    """Compute on what the tensors hold; new tensors are put on `device`, `known` ones stay."""

    def wrap(held: Tensor) -> Tensor:
        return known[id(held)] if id(held) in known else PretendedTensor(held, device)

    compute = _STAND_INS.get(func, func)
    given = {name: _bare(value) for name, value in kwargs.items()} if kwargs else {}
    return _mapped(compute(*[_bare(value) for value in args], **given), Tensor, wrap)


def _bmm_of_halves(left: Tensor, right: Tensor, dtype: torch.dtype, *, out: Tensor) -> Tensor:
    return torch.bmm(left.to(dtype), right.to(dtype), out=out)


def _softmax(states: Tensor, dim: int, half_to_float: bool) -> Tensor:
    return torch._softmax(states.float() if half_to_float else states, dim, False)


_STAND_INS: dict[Any, Callable[..., Tensor]] = {
    aten.bmm.dtype_out: _bmm_of_halves,
    aten._softmax.default: _softmax,
}
"""Operators that only a GPU has, on the host."""


def _device_argument(kwargs: dict[str, Any]) -> torch.device | None:
    """The pretended device that a factory is asked for."""
    device = kwargs.get("device")
    if device is None or torch.device(device).type != "cuda":
        return None
    return _indexed(torch.device(device))


def _with_index(argument: Any) -> Any:
    """ "cuda" means the current device; torch would ask the driver which one that is."""
    if isinstance(argument, torch.device) or (isinstance(argument, str) and argument == "cuda"):
        return _indexed(torch.device(argument))
    return argument


def _indexed(device: torch.device) -> torch.device:
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", 0)
    return device


def caller() -> str:
    """file:line of the innermost frame in `hermes` or `inference`, else outside torch."""
    frame, outside = sys._getframe(1), "?"
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(OURS):
            return f"{Path(name).relative_to(ROOT)}:{frame.f_lineno}"
        if outside == "?" and "torch" not in name and name != __file__:
            outside = f"{Path(name).name}:{frame.f_lineno}"
        frame = frame.f_back
    return outside


@contextmanager
def pretended_devices(count: int = 2) -> Iterator[Traffic]:
    """`count` pretended GPUs; yields the record of waits and copies."""
    torch._C._ensureCUDADeviceGuardSet()
    traffic = Traffic()

    def synchronize(device: Any = None) -> None:
        traffic._waited("synchronize")

    pretences: dict[str, Any] = {
        "_lazy_init": lambda: None,
        "is_available": lambda: True,
        "device_count": lambda: count,
        "current_device": lambda: 0,
        "synchronize": synchronize,
        **traffic.streams.pretences(),
    }
    with ExitStack() as stack:
        for name, pretence in pretences.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, pretence))
        stack.enter_context(_Functions(traffic))
        stack.enter_context(_Dispatch(traffic))
        yield traffic


def move(module: torch.nn.Module, device: str | torch.device) -> None:
    """Put all parameters and buffers of a module on a device, in place."""
    place = torch.device(device)
    for child in module.modules():
        for name, parameter in child._parameters.items():
            if parameter is not None:
                moved = torch.nn.Parameter(parameter.detach().to(place), requires_grad=False)
                child._parameters[name] = moved
        for name, buffer in child._buffers.items():
            if buffer is not None:
                child._buffers[name] = buffer.to(place)


def spread(model: Any, devices: int) -> None:
    """Put a tiny model on `devices` pretended GPUs as accelerate would: layers in equal runs,
    everything before them on the first, everything after them on the last."""
    move(model, "cuda:0")
    language, last = model.model.language_model, f"cuda:{devices - 1}"
    for index, layer in enumerate(language.layers):
        move(layer, f"cuda:{index * devices // len(language.layers)}")
    for module in (language.norm, language.rotary_emb, model.lm_head):
        move(module, last)
