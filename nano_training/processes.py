"""Other processes that make frames and batches, without CUDA and with one thread each."""

import multiprocessing
from multiprocessing.context import BaseContext

PRELOADED = ["nano_training.charts", "nano_training.batches"]


def context() -> BaseContext:
    """Processes forked from one that has imported everything, but touched no device."""
    forkserver = multiprocessing.get_context("forkserver")
    forkserver.set_forkserver_preload(PRELOADED)
    return forkserver
