"""Work of constant shapes recorded once and replayed with one launch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_WARM_UPS = 2
"""Kernels are chosen and workspaces allocated before the recording."""


def capture(run: Callable[[], None], changed: Sequence[Tensor]) -> Callable[[], None]:
    """Record `run` as a CUDA graph; what it gives replays it.

    Args:
        run: reads and writes tensors at constant addresses; the host decides nothing by them.
        changed: tensors whose content shall be as before the recording.
    """
    device = changed[0].device
    before = [tensor.clone() for tensor in changed]
    with torch.cuda.device(device):
        beside = torch.cuda.Stream(device)
        beside.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(beside):
            for _ in range(_WARM_UPS):
                run()
        torch.cuda.current_stream(device).wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run()
    for tensor, content in zip(changed, before, strict=True):
        tensor.copy_(content)
    return graph.replay
