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

from dataclasses import dataclass
from typing import NamedTuple

from reproduction.runs import Run

UTILISATION = 0.3
UTILISATION_BANDWIDTH = 0.6
"""Shares of the data sheet that such code reaches; assumed."""
BYTES = 2
QWEN_FRAME = (1280, 720)
"""Assumed width and height of a video where tokens follow the frame size."""
RESERVED_TOKENS = 1024
ANSWER_TOKENS = {"rvs_ego": 32, "rvs_movie": 32}
"""Assumed lengths; elsewhere a letter and its bracket."""


class Gpu(NamedTuple):
    """Data sheet: dense fp16 operations and bytes, per second."""

    operations: float
    bandwidth: float


GPUS = {"a800": Gpu(312e12, 2.0e12), "h100": Gpu(989e12, 3.35e12), "h200": Gpu(989e12, 4.8e12)}


@dataclass(frozen=True)
class Sizes:
    """A checkpoint, by its config.json."""

    layers: int
    width: int
    inner: int
    heads: int
    key_heads: int
    head_width: int
    vocabulary: int
    tower: float
    """Parameters of the vision tower and projector."""
    patch: int
    """Pixels per side; tokens cover 2 x 2 patches of two frames, but in LLaVA-OneVision."""
    tied: bool = False

    @property
    def layer_parameters(self) -> int:
        """Of all decoder layers together; norms left out."""
        attention = self.width * self.head_width * 2 * (self.heads + self.key_heads)
        return self.layers * (attention + 3 * self.width * self.inner)

    @property
    def weight_bytes(self) -> float:
        """Everything that is loaded."""
        embeddings = self.vocabulary * self.width * (1 if self.tied else 2)
        return BYTES * (self.layer_parameters + embeddings + self.tower)


SIZES = {
    "llava_ov_0.5b": Sizes(24, 896, 4864, 14, 2, 64, 151936, 0.40e9, 14, tied=True),
    "llava_ov_7b": Sizes(28, 3584, 18944, 28, 4, 128, 152064, 0.42e9, 14),
    "llava_ov_72b": Sizes(80, 8192, 29568, 64, 8, 128, 152064, 0.48e9, 14),
    "qwen2.5_vl_3b": Sizes(36, 2048, 11008, 16, 2, 128, 151936, 0.67e9, 14, tied=True),
    "qwen2.5_vl_7b": Sizes(28, 3584, 18944, 28, 4, 128, 152064, 0.68e9, 14),
    "qwen2.5_vl_32b": Sizes(64, 5120, 27648, 40, 8, 128, 152064, 0.69e9, 14),
    "qwen3_vl_2b": Sizes(28, 2048, 6144, 16, 8, 128, 151936, 0.41e9, 16, tied=True),
    "qwen3_vl_4b": Sizes(36, 2560, 9728, 32, 8, 128, 151936, 0.42e9, 16, tied=True),
    "qwen3_vl_8b": Sizes(36, 4096, 12288, 32, 8, 128, 151936, 0.58e9, 16),
    "qwen3_vl_32b": Sizes(64, 5120, 25600, 64, 8, 128, 151936, 0.60e9, 16),
}
"""Sizes of the checkpoints' decoders; tower sizes are rounded."""
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
    """GPU hours and GB (10^9 bytes) of a run; None for a model without `SIZES`."""
    sizes = SIZES.get(run.model)
    if sizes is None:
        return None
    patches, tokens = per_frame(run.model, sizes, max_pixels)
    chunk = run.chunk_frames * tokens
    hours = None
    if run.dataset in SECONDS:
        seconds, questions = SECONDS[run.dataset]
        frames = seconds * run.sample_fps
        work = 2 * sizes.layer_parameters * tokens + 2 * sizes.tower * patches
        context = run.kv_size + chunk / 2
        work += 4 * sizes.layers * sizes.heads * sizes.head_width * tokens * context
        answers = questions * ANSWER_TOKENS.get(run.dataset, 2) * sizes.weight_bytes
        watching = frames * work / (GPUS[gpu].operations * UTILISATION)
        hours = (watching + answers / (GPUS[gpu].bandwidth * UTILISATION_BANDWIDTH)) / 3600
    return Estimate(hours, memory_bytes(sizes, run.kv_size, chunk) / 1e9)


def memory_bytes(sizes: Sizes, kv_size: int, chunk_tokens: float) -> float:
    """Weights, buffers and the activations of one chunk."""
    per_token = 3 * sizes.layers * sizes.key_heads * sizes.head_width * BYTES
    buffers = per_token * (kv_size + chunk_tokens + RESERVED_TOKENS)
    activations = chunk_tokens * (4 * sizes.width + 3 * sizes.inner) * BYTES
    return sizes.weight_bytes + buffers + activations


def per_frame(model: str, sizes: Sizes, max_pixels: int | None) -> tuple[float, float]:
    """Patches that the tower reads and tokens that the memory gets, of one frame."""
    if model.startswith("llava_ov"):
        return 27 * 27, 14 * 14
    width, height = QWEN_FRAME
    pixels = min(width * height, max_pixels or width * height)
    patches = pixels / sizes.patch**2 / 2  # two frames share a patch
    return patches, patches / 4
