r"""Speed and memory of a Qwen3-VL of true size with random weights: no checkpoint is needed.

    python scripts/bench_random.py --size 8b --kv_size 6000 --num_frames 256

Streams noise at 2 frames per second, asks one question, prints one JSON object. Random weights
answer nothing; what a chunk and a question cost does not depend on the weights.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
import transformers

from hermes import configure
from inference.answers.timing import Stopwatch
from inference.checkpoints.processor import Processor
from inference.families.qwen3vl_hermes import Qwen3VLHermes, pixel_config, prepare
from scripts.tiny_checkpoints import save_tiny_checkpoint

CHUNK_FRAMES, SAMPLE_FPS = 16, 2.0
SIZES: dict[str, dict[str, dict[str, Any]]] = {
    "8b": {
        "text": {
            "hidden_size": 4096,
            "intermediate_size": 12288,
            "num_hidden_layers": 36,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "vocab_size": 151936,
            "max_position_embeddings": 262144,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 5_000_000,
                "mrope_section": [24, 20, 20],
                "mrope_interleaved": True,
            },
        },
        "vision": {"out_hidden_size": 4096},
    },
    "tiny": {
        "text": {
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 10,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "vocab_size": 256,
            "max_position_embeddings": 32768,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10_000,
                "mrope_section": [4, 2, 2],
                "mrope_interleaved": True,
            },
        },
        "vision": {
            "depth": 3,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": 64,
            "deepstack_visual_indexes": [0, 1],
        },
    },
}
"""Fields of the configuration; the vision tower of the large ones is transformers' default."""


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--size", choices=sorted(SIZES), default="8b", help="of the model (default: 8b)")
    add("--device", default="cuda", help="cuda, cuda:1, cpu (default: cuda)")
    add("--dtype", choices=("float16", "bfloat16", "float32"), default="bfloat16")
    add("--policy", default="hermes", help="memory policy (default: hermes)")
    add("--kv_size", type=int, default=6000, help="tokens per layer (default: 6000)")
    add("--num_frames", type=int, default=256, help="length of the stream (default: 256)")
    add("--height", type=int, default=360, help="of the frames in pixels (default: 360)")
    add("--width", type=int, default=640, help="of the frames in pixels (default: 640)")
    add("--out", type=Path, help="file for the numbers, beside the terminal")
    options = parser.parse_args(argv)
    if options.device != "cpu" and not torch.cuda.is_available():
        print("error: torch sees no CUDA device; --device cpu --size tiny tries", file=sys.stderr)
        return 2
    settings = {name: value for name, value in vars(options).items() if name != "out"}
    text = json.dumps({**settings, **measure(random_engine(options), options)}, indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")
    return 0


def random_engine(options: argparse.Namespace) -> Qwen3VLHermes:
    """An engine on weights that are drawn on the device."""
    from transformers import AutoTokenizer

    size = SIZES[options.size]
    config = transformers.Qwen3VLConfig(
        text_config=size["text"], vision_config=size["vision"], tie_word_embeddings=False
    )
    dtype = getattr(torch, options.dtype)
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(options.device):
            model = transformers.Qwen3VLForConditionalGeneration(config).eval()
    finally:
        torch.set_default_dtype(before)
    for module in model.modules():  # frequencies stay exact, as in a loaded checkpoint
        if hasattr(module, "compute_default_rope_parameters"):
            frequencies, _ = module.compute_default_rope_parameters(module.config)
            module.inv_freq = frequencies.to(options.device)
    prepare(model)
    with tempfile.TemporaryDirectory() as folder:
        save_tiny_checkpoint(folder, "qwen3")
        tokenizer = AutoTokenizer.from_pretrained(folder)
    processor = Processor(tokenizer, pixel_config({}, model.config, None))
    memory = configure(kv_size=options.kv_size, policy=options.policy, chunk_frames=CHUNK_FRAMES)
    return Qwen3VLHermes(model, processor, memory, sample_fps=SAMPLE_FPS)


def measure(engine: Qwen3VLHermes, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of a chunk once the memory is full, of a first token, and the device's peak."""
    shape = (CHUNK_FRAMES, options.height, options.width, 3)
    seconds = []
    for _ in range(0, options.num_frames, CHUNK_FRAMES):
        frames = torch.randint(0, 256, shape, dtype=torch.uint8)
        watch = Stopwatch(engine.device)
        engine.encode_video_chunk(frames)
        engine.predict_and_compress()
        seconds.append(watch.seconds())
    engine.question_answering(
        {"question": "?", "prompt": engine.get_prompt("What is this?")}, max_new_tokens=8
    )
    timing, full = engine.last_timing, seconds[len(seconds) // 2 :]
    on_gpu = engine.device.type == "cuda"
    return {
        "device_name": torch.cuda.get_device_name() if on_gpu else "cpu",
        "tokens_per_frame": engine.describe()["tokens_per_frame"],
        "chunk_seconds_median": statistics.median(full),
        "frames_per_second": CHUNK_FRAMES / statistics.median(full),
        "first_token_seconds": timing.first_token_seconds if timing else None,
        "memory_bytes": engine.memory.num_bytes,
        "peak_device_bytes": torch.cuda.max_memory_allocated() if on_gpu else None,
    }


if __name__ == "__main__":
    sys.exit(main())
