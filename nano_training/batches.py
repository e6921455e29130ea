"""Batches in the order of their seeds, made ahead by other processes where there are any."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

import torch

from nano_training.decoder import Batch
from nano_training.packs import PackMaker
from nano_training.processes import context
from nano_training.syllabus import syllabus_at
from nano_training.tokenizer import train_tokenizer

AHEAD_PER_PROCESS = 3


class Order(NamedTuple):
    """What decides a batch; `progress` (0 to 1) chooses what is asked."""

    seed: int
    frames: int
    packs: int
    progress: float


def make(maker: PackMaker, order: Order) -> Batch:
    maker.syllabus = syllabus_at(order.progress)
    return maker.make_batch(order.seed, order.frames, order.packs)


_maker: PackMaker


def _begin(seed: int) -> None:
    global _maker
    torch.set_num_threads(1)
    _maker = PackMaker(train_tokenizer(seed))


def _make(order: Order) -> Batch:
    return make(_maker, order)


class Ahead:
    """Batches `first`, `first + 1`, ... of what `order_of` says, some of them made in advance."""

    def __init__(
        self, pool: ProcessPoolExecutor, size: int, first: int, order_of: Callable[[int], Order]
    ) -> None:
        self._pool, self._size, self._next, self._order_of = pool, size, first, order_of
        self._waiting: deque[Future[Batch]] = deque()

    def __call__(self) -> Batch:
        while len(self._waiting) < self._size:
            self._waiting.append(self._pool.submit(_make, self._order_of(self._next)))
            self._next += 1
        return self._waiting.popleft().result()


@contextmanager
def batches(
    maker: PackMaker, seed: int, processes: int, first: int, order_of: Callable[[int], Order]
) -> Iterator[Callable[[], Batch]]:
    """What gives the next batch, from number `first` on; `processes` 0: made when asked for."""
    if processes == 0:
        numbers = iter(range(first, 1 << 62))
        yield lambda: make(maker, order_of(next(numbers)))
        return
    pool = ProcessPoolExecutor(processes, context(), _begin, (seed,))
    try:
        yield Ahead(pool, AHEAD_PER_PROCESS * processes, first, order_of)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
