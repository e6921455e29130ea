"""What a run will roughly cost on a GPU: arithmetic from sizes, nothing of it measured.

    hours  = (decoder + tower + attention) / (peak * UTILISATION) + answers,   in which
    decoder   = 2 * parameters of the layers * visual tokens
    attention = 4 * layers * heads * head width * visual tokens * (kv_size + half a chunk)
    tower     = 2 * parameters of the tower * patches
    answers   = questions * tokens per answer * weight bytes / (bandwidth * UTILISATION_BANDWIDTH)
    memory = weights + buffers + activations of a chunk, 2 bytes per number
    buffers     = 3 * layers * key heads * head width * (kv_size + chunk + 1,024)   (keys, values,
                  rotated keys)
    activations = chunk tokens * (4 * width + 3 * inner width)

Left out: decoding video on the CPU, which may take longer than all of it; the guidance texts; what
the vision tower holds; the allocator's slack. The release's own measurement (LLaVA-OV-7B, 4,000
tokens, A800) is reached within a twentieth by the memory formula (tests).
"""

from __future__ import annotations

from typing import NamedTuple

from reproduction.checkpoint_sizes import BYTES, SHAPES, Shape
from reproduction.runs import Run

UTILISATION = 0.3
UTILISATION_BANDWIDTH = 0.6
"""Shares of the data sheet that such code reaches; assumed."""
QWEN_FRAME = (1280, 720)
"""Assumed width and height of a video where tokens follow the frame size."""
MOST_PIXELS = {"qwen3_vl": 768 * 32**2}
"""Beginning of a model key -> largest frame area that its checkpoint lets through."""
RESERVED_TOKENS = 1024
ANSWER_TOKENS = {"rvs_ego": 32, "rvs_movie": 32}
"""Assumed lengths; elsewhere a letter and its bracket."""


class Gpu(NamedTuple):
    """Data sheet: dense fp16 operations and bytes, per second, and 10^9 bytes of memory."""

    operations: float
    bandwidth: float
    gigabytes: float


GPUS = {
    "a800": Gpu(312e12, 2.0e12, 80),
    "h100": Gpu(989e12, 3.35e12, 80),
    "h200": Gpu(989e12, 4.8e12, 141),
}


SECONDS = {
    "streamingbench": (250_180, 2495),
    "ovobench": (345_520, 1468),
    "rvs_ego": (34_355, 1465),
    "rvs_movie": (23_219, 1905),
    "videomme": (919_159, 2700),
    "egoschema": (5031 * 180, 5031),
}
"""Seconds of video that have to be watched, and questions. Summed over the authors' annotation
files: last question of each entry, or length of the video; EgoSchema has clips of three minutes.
MVBench is missing, because its annotations say nothing of lengths."""


class Estimate(NamedTuple):
    """`hours` is None where the length of the videos is not known."""

    hours: float | None
    gigabytes: float


def estimate(run: Run, gpu: str = "h200", max_pixels: int | None = None) -> Estimate | None:
    """GPU hours and GB (10^9 bytes) of a run; None for a model without a `Shape`."""
    shape = SHAPES.get(run.model)
    if shape is None:
        return None
    patches, tokens = per_frame(run.model, shape, max_pixels)
    chunk = run.chunk_frames * tokens
    hours = None
    if run.dataset in SECONDS:
        seconds, questions = SECONDS[run.dataset]
        frames = seconds * run.sample_fps
        work = tower_work(shape, patches) + decoder_work(shape, tokens, run.kv_size + chunk / 2)
        answers = questions * ANSWER_TOKENS.get(run.dataset, 2) * shape.weight_bytes
        watching = frames * work / (GPUS[gpu].operations * UTILISATION)
        hours = (watching + answers / (GPUS[gpu].bandwidth * UTILISATION_BANDWIDTH)) / 3600
    return Estimate(hours, memory_bytes(shape, run.kv_size, chunk) / 1e9)


def tower_work(shape: Shape, patches: float) -> float:
    """Operations of the vision tower."""
    return 2 * shape.tower_parameters * patches


def decoder_work(shape: Shape, tokens: float, context: float) -> float:
    """Operations of all layers on tokens that see `context` others."""
    attention = 4 * shape.num_layers * shape.num_heads * shape.head_dim * context
    return tokens * (2 * shape.layer_parameters + attention)


def memory_bytes(shape: Shape, kv_size: int, chunk_tokens: float) -> float:
    """Weights, buffers and the activations of one chunk."""
    buffers = shape.stream_bytes(kv_size + RESERVED_TOKENS, chunk_tokens)
    activations = chunk_tokens * (4 * shape.width + 3 * shape.inner_width) * BYTES
    return shape.weight_bytes + buffers + activations


def per_frame(
    model: str, shape: Shape, max_pixels: int | None, frame: tuple[int, int] = QWEN_FRAME
) -> tuple[float, float]:
    """Patches that the tower reads and tokens that the memory gets, of one frame."""
    if model.startswith("llava_ov"):
        return 27 * 27, 14 * 14
    width, height = frame
    pixels = min(width * height, max_pixels or width * height)
    caps = [most for key, most in MOST_PIXELS.items() if model.startswith(key)]
    pixels = min([pixels, *caps])
    patches = pixels / shape.patch**2 / 2  # two frames share a patch
    return patches, patches / 4
