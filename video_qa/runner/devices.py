"""Which devices the workers use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

HELP = "'cpu', 'cuda' (all GPUs), or GPU numbers such as '0,1' or 'cuda:0,cuda:1'"


class DeviceError(ValueError):
    """The devices asked for do not exist."""


@dataclass(frozen=True)
class WorkerDevice:
    """What one worker gets: the name it passes to the engine, and the GPUs it can see."""

    name: str
    cuda_visible_devices: str

    def environment(self) -> dict[str, str]:
        return {"CUDA_VISIBLE_DEVICES": self.cuda_visible_devices}


CPU = WorkerDevice("cpu", "")


def worker_devices(
    requested: str | None, visible_gpus: list[str], gpus_per_worker: int = 1
) -> list[WorkerDevice]:
    """The device groups over which workers are dealt out in turn.

    Args:
        requested: see ``HELP``; None: all visible GPUs, else the CPU. Numbers count within
            ``visible_gpus``, as they do for every CUDA program.
        visible_gpus: the entries of the outer ``CUDA_VISIBLE_DEVICES``, see ``visible_gpus``.
        gpus_per_worker: GPUs that one copy of the model needs.

    Raises:
        DeviceError: a device is unknown, or there are too few for one worker.
    """
    if requested == "cpu" or (requested is None and not visible_gpus):
        return [CPU]
    gpus = visible_gpus if requested in (None, "cuda") else _picked(requested or "", visible_gpus)
    if len(gpus) < gpus_per_worker:
        raise DeviceError(
            f"this model needs {gpus_per_worker} GPU(s) per worker, but --devices "
            f"{requested or 'cuda'} gives {len(gpus)}; choose more devices, or cpu"
        )
    starts = range(0, len(gpus) - gpus_per_worker + 1, gpus_per_worker)
    groups = [gpus[start : start + gpus_per_worker] for start in starts]
    return [WorkerDevice("cuda", ",".join(group)) for group in groups]


def visible_gpus(environment: Mapping[str, str], num_gpus: int) -> list[str]:
    """Names (numbers or UUIDs) of the GPUs this process may use.

    Args:
        environment: process environment; an outer ``CUDA_VISIBLE_DEVICES`` is respected.
        num_gpus: how many GPUs torch finds under that environment.
    """
    outer = environment.get("CUDA_VISIBLE_DEVICES")
    if outer is None:
        return [str(number) for number in range(num_gpus)]
    return [name.strip() for name in outer.split(",")][:num_gpus]


def _picked(requested: str, visible_gpus: list[str]) -> list[str]:
    return [_gpu(item.strip(), visible_gpus) for item in requested.split(",")]


def _gpu(item: str, visible_gpus: list[str]) -> str:
    number = item.removeprefix("cuda:")
    if not number.isdecimal():
        raise DeviceError(f"unknown device '{item}': expected {HELP}")
    if int(number) >= len(visible_gpus):
        there = f"{len(visible_gpus)} visible (numbers count from 0)" if visible_gpus else "none"
        raise DeviceError(f"GPU {number} was asked for, but of GPUs there are: {there}")
    return visible_gpus[int(number)]
