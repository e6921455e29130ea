"""How a stream computes: part by part as the reference, or in fewer operators.

"plain" calls the checkpoint's own modules one by one, and answers token by token. "fused" computes
layers in few operators and answers without noting where tokens stand. "captured" pads this to
passes of constant shapes and replays them as CUDA graphs. All three give the same answers, but for
near ties in half precision; `scripts/bench_efficiency.py` says what they cost.
"""

from __future__ import annotations

from typing import Any

import torch

from inference.errors import ModelLoadError
from inference.layers import fused_layer
from inference.layers.fused_layer import FusedLayer
from inference.layers.plain_layer import PlainLayer

EXECUTIONS = ("plain", "fused", "captured")


def choose_execution(
    execution: str, layers: list[Any], devices: list[torch.device]
) -> tuple[str, type[PlainLayer]]:
    """Resolve `execution` in {"auto", "plain", "fused", "captured"}; "auto" fuses where it can.

    Returns:
        Its name, and the kind of its layers.

    Raises:
        ModelLoadError: unknown name, or one that cannot be had with this model (saying why).
    """
    if execution not in {"auto", *EXECUTIONS}:
        known = ", ".join(EXECUTIONS)
        raise ModelLoadError(f"unknown execution {execution!r}; known: auto, {known}")
    if execution == "plain":
        return "plain", PlainLayer
    reason = _obstacle(execution, layers, devices)
    if reason and execution != "auto":
        raise ModelLoadError(
            f"execution={execution!r} cannot be used: {reason}; execution='plain' always works"
        )
    if reason:
        return "plain", PlainLayer
    return ("fused" if execution == "auto" else execution), FusedLayer


def _obstacle(execution: str, layers: list[Any], devices: list[torch.device]) -> str | None:
    for number, layer in enumerate(layers):
        if reason := fused_layer.obstacle(layer):
            return f"in layer {number} {reason}"
    if execution != "captured":
        return None
    if {device.type for device in devices} != {"cuda"}:
        return f"graphs need a CUDA device, the model is on {devices[0]}"
    if len(set(devices)) > 1:
        return "a graph cannot span several GPUs"
    return None
