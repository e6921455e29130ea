"""Work of constant shapes recorded once and replayed with one launch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

WARM_UPS = 2
"""Kernels are chosen and workspaces allocated before the recording."""
_MOST_GRAPHS = 128
"""Of a device; then all of them are recorded anew when they are needed."""


class Recorded(Protocol):
    """What `capture` gives."""

    @property
    def is_valid(self) -> bool:
        """Whether it can still be replayed."""

    def replay(self) -> None:
        """Do the work again, on what the tensors hold by now."""


class _Recorder:
    """All graphs of a device: one stream, one pool, and one end. Graphs of a stream share its
    cuBLAS workspace, which goes with the first of them that goes."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device, priority=-1)  # unlike that of a lookahead
        self.generation = 0
        self._begin()

    def _begin(self) -> None:
        self.graphs: list[torch.cuda.CUDAGraph] = []
        self.pool = torch.cuda.graph_pool_handle()

    def forget(self) -> None:
        """All at once, when the device is idle."""
        torch.cuda.synchronize(self.device)
        self._begin()
        torch._C._cuda_clearCublasWorkspaces()
        self.generation += 1

    def record(self, run: Callable[[], None]) -> int:
        """The number of the graph."""
        if len(self.graphs) >= _MOST_GRAPHS:
            self.forget()
        self.stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self.stream):
            for _ in range(WARM_UPS):
                run()
        torch.cuda.current_stream(self.device).wait_stream(self.stream)
        graph, mode = torch.cuda.CUDAGraph(), "thread_local"
        with torch.cuda.graph(graph, self.pool, self.stream, capture_error_mode=mode):
            run()
        self.graphs.append(graph)
        return len(self.graphs) - 1


class _Graph:
    """One of them, by its number: it alone must not keep a graph alive or let it go."""

    def __init__(self, recorder: _Recorder, number: int) -> None:
        self._recorder, self._number = recorder, number
        self._generation = recorder.generation

    @property
    def is_valid(self) -> bool:
        return self._generation == self._recorder.generation

    def replay(self) -> None:
        self._recorder.graphs[self._number].replay()


_RECORDERS: dict[torch.device, _Recorder] = {}
_LOCK = threading.Lock()


def capture(run: Callable[[], None], changed: Sequence[Tensor]) -> Recorded:
    """Record `run` as a CUDA graph.

    Args:
        run: reads and writes tensors at constant addresses; the host decides nothing by them.
        changed: tensors whose content shall be as before the recording.
    """
    device = changed[0].device
    before = [tensor.clone() for tensor in changed]
    with _LOCK, torch.cuda.device(device):
        if device not in _RECORDERS:
            _RECORDERS[device] = _Recorder(device)
        recorder = _RECORDERS[device]
        with torch.cuda.stream(torch.cuda.current_stream(device)):  # also if recording fails
            number = recorder.record(run)
    for tensor, content in zip(changed, before, strict=True):
        tensor.copy_(content)
    return _Graph(recorder, number)
