"""Bounded decoding in the background."""

import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Prefetcher(Generic[Item]):
    """Runs an iterator in a thread, at most `capacity` items ahead of the consumer.

    Items count from the moment they are asked of the iterator until `release`, so that a consumer
    that assembles a chunk keeps the bound too. An exception of the iterator is raised by `take`
    after all items before it. `close` stops the thread, closes the iterator and waits for both.
    """

    def __init__(self, items: Iterator[Item], capacity: int) -> None:
        self._items = items
        self._free = capacity
        self._ready: deque[Item] = deque()
        self._finished = False
        self._closing = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="video-decoder", daemon=True)
        self._thread.start()

    def wait_for(self, count: int) -> int:
        """Wait until `count` items are ready or no more will come; number that can be taken."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._ready) >= count or self._finished)
            if not self._ready and self._error is not None:
                raise self._error
            return min(count, len(self._ready))

    def is_ready(self, count: int) -> bool:
        """Whether `wait_for` would not wait, and find something."""
        with self._changed:
            return bool(self._ready) and (len(self._ready) >= count or self._finished)

    def take(self) -> Item:
        """The next item, which must be ready (`wait_for`); it still counts until `release`."""
        with self._changed:
            return self._ready.popleft()

    def release(self, count: int) -> None:
        """The consumer has handed on `count` items: as many more may be decoded."""
        with self._changed:
            self._free += count
            self._changed.notify_all()

    @property
    def exhausted(self) -> bool:
        """Whether it is known that no further item will come, without waiting."""
        with self._changed:
            return self._finished and not self._ready and self._error is None

    def close(self) -> None:
        """Stop decoding and wait for the thread. May be called more than once."""
        with self._changed:
            self._closing = True
            self._ready.clear()
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        try:
            while self._may_continue():
                item = next(self._items, None)
                if item is None:
                    break
                self._add(item)
                del item  # or the frame would live here until the next one is decoded
        except BaseException as error:  # handed to the consumer, whatever it is
            self._error = error
        finally:
            self._close_items()
            with self._changed:
                self._finished = True
                self._changed.notify_all()

    def _may_continue(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._free > 0 or self._closing)
            self._free -= 1
            return not self._closing

    def _add(self, item: Item) -> None:
        with self._changed:
            if not self._closing:
                self._ready.append(item)
                self._changed.notify_all()

    def _close_items(self) -> None:
        close = getattr(self._items, "close", None)
        if close is not None:
            close()
