"""Choices on their way to the host while the device goes on."""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor


class Mailbox:
    """First in, first out."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._letters: deque[tuple[Tensor, torch.cuda.Event | None]] = deque()

    def post(self, numbers: Tensor) -> None:
        """Send what (n,) `numbers` hold by now; does not wait."""
        if self._device.type != "cuda":
            self._letters.append((numbers.clone(), None))
            return
        letter = torch.empty(numbers.shape, dtype=numbers.dtype, pin_memory=True)
        letter.copy_(numbers, non_blocking=True)
        sent = torch.cuda.Event()
        sent.record(torch.cuda.current_stream(self._device))
        self._letters.append((letter, sent))

    def take(self) -> list[float]:
        """The oldest; waits until it has come, not for what was queued behind it."""
        letter, sent = self._letters.popleft()
        if sent is not None:
            sent.synchronize()
        return letter.tolist()
