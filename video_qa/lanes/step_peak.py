"""Device memory at its highest during one step of one stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def step_peak(device: Any) -> Iterator[Callable[[], int | None]]:
    """Measure a step; the function yielded tells, afterwards, how many bytes it needed on top.

    "On top" of what was allocated when the step began, so that streams sharing a GPU are told
    apart. None on a CPU, whose allocator keeps no such record.
    """
    if getattr(device, "type", "cpu") != "cuda":
        yield lambda: None
        return
    import torch  # loaded already if the device is its own

    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    yield lambda: int(torch.cuda.max_memory_allocated(device) - before)
