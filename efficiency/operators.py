"""Operators that a piece of work launches, and the memory that it takes while it runs."""

from __future__ import annotations

import weakref
from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten
FREE = {aten.detach, aten.alias, aten.lift_fresh, aten.empty, aten.empty_like, aten.new_empty}
"""Calls that launch nothing, besides views. Their memory counts."""


class Operators(TorchDispatchMode):
    """Counts what is dispatched inside, on whatever device.

    An operator is one call below autograd that computes or moves something; views are free. On a
    GPU that is about one launch each. A compiled region that calls a generated kernel through an
    operator of its own counts as that one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.by_name: Counter[str] = Counter()
        self.live_bytes = 0
        """Bytes of the tensors made inside that are still held."""
        self.peak_bytes = 0
        """The most there were at once; what an operator takes inside itself is not seen."""
        self._known: set[int] = set()

    @property
    def count(self) -> int:
        """All operators so far."""
        return sum(self.by_name.values())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if not (func.is_view or func.overloadpacket in FREE):
            self.by_name[str(func.overloadpacket).removeprefix("aten.")] += 1
        given = {_address(leaf) for leaf in tree_leaves((args, kwargs)) if _has_storage(leaf)}
        for leaf in tree_leaves(result):
            if _has_storage(leaf) and _address(leaf) not in given:
                self._hold(leaf.untyped_storage())
        return result

    def _hold(self, storage: torch.UntypedStorage) -> None:
        address, size = storage._cdata, storage.nbytes()
        if address in self._known:
            return
        self._known.add(address)
        self.live_bytes += size
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)
        weakref.finalize(storage, self._release, address, size)

    def _release(self, address: int, size: int) -> None:
        self._known.discard(address)
        self.live_bytes -= size


def _has_storage(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.layout == torch.strided


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
