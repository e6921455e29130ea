"""CUDA graphs without a GPU: operators are recorded with their tensors, and replayed on these.

As in a graph, a replay runs no Python: what the host decided while recording stays decided, and
what it would have to look at on the device cannot be recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten
_LOOKS = {aten._local_scalar_dense, aten.nonzero, aten.is_nonzero, aten.equal, aten.masked_select}


class HostLooks(RuntimeError):
    """Something that a graph cannot record."""


class Recording(TorchDispatchMode):
    """Every operator that computes something, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, list[Tensor]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket in _LOOKS:
            raise HostLooks(f"{func} while recording")
        kwargs = kwargs or {}
        results = func(*args, **kwargs)
        if not func.is_view:
            self.calls.append((func, args, kwargs, _tensors(results)))
        return results

    @torch.no_grad()
    def replay(self) -> None:
        """The same calls on the same tensors; what they give goes where it went before."""
        for func, args, kwargs, targets in self.calls:
            for target, found in zip(targets, _tensors(func(*args, **kwargs)), strict=True):
                if target is not found:
                    target.copy_(found.view_as(target))  # squeezed in place since


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def capture(run: Callable[[], None], changed: Sequence[Tensor]) -> Any:
    """As `inference.tokens.graph.capture`."""
    before = [tensor.clone() for tensor in changed]
    run()
    recording = Recording()
    with recording:
        run()
    for tensor, content in zip(changed, before, strict=True):
        tensor.copy_(content)
    return SimpleNamespace(replay=recording.replay, is_valid=True)
