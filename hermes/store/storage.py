"""How keys, values and rotated keys are stored: as they are, or in eight bits.

Shapes: l layers of a stack, g key heads, c capacity, n tokens, d head width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from hermes.store.quantise import FP8, INT8, Format, Quantised, dequantise, quantise
from hermes.store.quantised_states import SCALE_DTYPE, QuantisedStates


class Storage(ABC):
    """One object per memory: makes the buffers of its stacks and hands them to attention."""

    part_names: ClassVar[tuple[str, ...]]
    """What follows the name of a buffer in the names of its tensors."""
    lies_beside_others: ClassVar[bool]
    """Whether buffers may be those of a `SharedStore`, which are read for all streams at once."""

    @property
    def num_bytes(self) -> int:
        """Allocated beside the buffers."""
        return 0

    @abstractmethod
    def new(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Any:
        """A (l, g, c, d) buffer for states of the model's dtype."""

    @abstractmethod
    def parts(self, states: Any) -> tuple[Tensor, ...]:
        """The tensors (l, g, c, ...) of a buffer; moving tokens moves rows of them."""

    @abstractmethod
    def as_stored(self, states: Tensor, dtype: torch.dtype) -> Tensor:
        """What is read after (..., d) states have been written."""

    @abstractmethod
    def attended(self, rotated: Any, values: Any, index: int, stop: int) -> tuple[Tensor, Tensor]:
        """Rotated keys and values (g, n, d) of a layer up to a slot, in the model's dtype; valid
        until the next layer is asked for."""

    def check(self, device: torch.device) -> None:  # noqa: B027 - a tensor works everywhere
        """Raises ValueError for a device that cannot store so."""

    def open(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> None:  # noqa: B027
        """Make room for reading layers of a stack of (l, g, c, d) buffers."""


class ModelStorage(Storage):
    """Tensors in the dtype of the model."""

    part_names = ("",)
    lies_beside_others = True

    def new(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
        """Zeros: a masked slot must not hold NaN, which no weight of 0 takes away."""
        return torch.zeros(shape, dtype=dtype, device=device)

    def parts(self, states: Tensor) -> tuple[Tensor, ...]:
        """Itself."""
        return (states,)

    def as_stored(self, states: Tensor, dtype: torch.dtype) -> Tensor:
        """The same, in that dtype."""
        return states.to(dtype)

    def attended(
        self, rotated: Tensor, values: Tensor, index: int, stop: int
    ) -> tuple[Tensor, Tensor]:
        """Views of the buffers."""
        return rotated[index, :, :stop], values[index, :, :stop]


class EightBitStorage(Storage):
    """Eight bits per number and a scale per head and token.

    A layer is read into one scratch buffer per device, which is used again by every layer and
    never grows with the tokens.
    """

    part_names = ("", "_scale")
    lies_beside_others = False

    def __init__(self, form: Format) -> None:
        self._form = form
        self._scratch: dict[torch.device, Tensor] = {}

    @property
    def num_bytes(self) -> int:
        """Of the scratch buffers."""
        return sum(scratch.nbytes for scratch in self._scratch.values())

    def check(self, device: torch.device) -> None:
        """Tries it."""
        try:
            self._form.levels_of(torch.zeros(1, device=device)).view(self._form.dtype).float()
        except (RuntimeError, TypeError) as error:
            raise ValueError(
                f"torch cannot convert {self._form.dtype} on {device} ({error}): take "
                "kv_dtype='int8', which every device can store, or 'model'"
            ) from error

    def new(
        self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device
    ) -> QuantisedStates:
        """Levels and scales."""
        levels = torch.empty(shape, dtype=torch.int8, device=device)
        scale = torch.empty((*shape[:-1], 1), dtype=SCALE_DTYPE, device=device)
        return QuantisedStates(Quantised(levels, scale), self._form, dtype)

    def open(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> None:
        """The scratch is as large as the largest layer that was opened."""
        held = self._scratch.get(device)
        if held is None or held.shape[2] < shape[2]:
            self._scratch[device] = torch.empty((2, *shape[1:]), dtype=dtype, device=device)

    def parts(self, states: QuantisedStates) -> tuple[Tensor, ...]:
        """Levels and scales."""
        return states.parts

    def as_stored(self, states: Tensor, dtype: torch.dtype) -> Tensor:
        """fp32; the same bytes are stored if it is written again."""
        return dequantise(quantise(states.to(dtype), self._form, SCALE_DTYPE), self._form)

    def attended(
        self, rotated: QuantisedStates, values: QuantisedStates, index: int, stop: int
    ) -> tuple[Tensor, Tensor]:
        """Read into the scratch buffer."""
        keys_of_layer, values_of_layer = self._scratch[rotated.device][:, :, :stop]
        return (
            rotated.select(0, index).narrow(1, 0, stop).read_into(keys_of_layer),
            values.select(0, index).narrow(1, 0, stop).read_into(values_of_layer),
        )


STORAGES: dict[str, Callable[[], Storage]] = {
    "model": ModelStorage,
    "int8": partial(EightBitStorage, INT8),
    "fp8": partial(EightBitStorage, FP8),
}
"""What `MemoryConfig.kv_dtype` names."""


def storage_of(kv_dtype: str, devices: Iterable[torch.device]) -> Storage:
    """A storage for a memory on these devices.

    Raises:
        ValueError: an unknown name, or a device that cannot store so; the message says what to do.
    """
    if kv_dtype not in STORAGES:
        raise ValueError(f"unknown kv_dtype {kv_dtype!r}; known: {', '.join(STORAGES)}")
    storage = STORAGES[kv_dtype]()
    try:
        for device in set(devices):
            storage.check(device)
    except ValueError as error:
        raise ValueError(f"kv_dtype={kv_dtype!r} cannot be used: {error}") from error
    return storage
