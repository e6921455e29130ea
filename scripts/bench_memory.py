"""Measure what the memory costs, on a tiny random model; writes docs/benchmarks.md.

python scripts/bench_memory.py stream     10,000 frames at kv_size 256: speed, memory, first token
python scripts/bench_memory.py video      a 60-minute 720p H.264 file at 0.5 fps: peak memory, time
python scripts/bench_memory.py report     rewrite docs/benchmarks.md from docs/benchmarks/*.json

Each measurement runs in a process of its own, so peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch
from tqdm import tqdm

from inference import AbstractHermes, load_model
from inference.answers.timing import Stopwatch
from scripts.bench_decode import SCENE_SECONDS, repeat
from scripts.benchmark_report import RESULTS, write_report
from scripts.tiny_checkpoints import save_tiny_checkpoint
from video import open_video

CHUNK_FRAMES = 16


def main(argv: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=[*MEASUREMENTS, "all", "report"])
    parser.add_argument("--device", default=None, help="cpu, cuda, ... (default: a GPU if any)")
    parser.add_argument("--model", default=None, help="checkpoint (default: tiny random LLaVA)")
    parser.add_argument("--kv_size", type=int, default=256, help="visual tokens per layer")
    parser.add_argument("--policy", default="hermes", help="memory policy")
    parser.add_argument("--num_frames", type=int, default=10_000, help="length of the stream")
    parser.add_argument("--video", type=Path, default=None, help="measure this file instead")
    options = parser.parse_args(argv)
    if options.what == "all":
        for name in MEASUREMENTS:
            subprocess.run([sys.executable, __file__, name, *_passed_on(argv)], check=True)
    elif options.what != "report":
        result = MEASUREMENTS[options.what](options)
        RESULTS.mkdir(parents=True, exist_ok=True)
        command = "python scripts/bench_memory.py " + " ".join(argv or sys.argv[1:])
        record = {"command": command, "device": result.pop("device"), **result}
        (RESULTS / f"{options.what}.json").write_text(json.dumps(record, indent=2) + "\n")
        print(json.dumps(record, indent=2))
    write_report()
    return 0


def _passed_on(argv: list[str] | None) -> list[str]:
    return [word for word in (argv or sys.argv[1:]) if word != "all"]


def measure_stream(options: argparse.Namespace) -> dict[str, Any]:
    """Speed, memory and time to first token along one long stream of noise frames."""
    engine = _engine(options)
    generator = torch.Generator().manual_seed(0)
    shape = (CHUNK_FRAMES, 56, 56, 3)
    frames = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    chunk_seconds, resident, first_token = [], [], {}
    num_chunks = options.num_frames // CHUNK_FRAMES
    for index in tqdm(range(num_chunks), desc="chunks"):
        watch = Stopwatch(engine.device)
        engine.encode_video_chunk(frames.roll(index, dims=1))
        engine.predict_and_compress()
        chunk_seconds.append(watch.seconds())
        resident.append(_resident_bytes())
        if index in (112 // CHUNK_FRAMES - 1, num_chunks - 1):
            first_token[(index + 1) * CHUNK_FRAMES] = _first_token_seconds(engine)
    thousand = 1000 // CHUNK_FRAMES
    second, last = slice(thousand, 2 * thousand), slice(-thousand, None)
    return {
        "device": _device_name(engine.device),
        "num_frames": num_chunks * CHUNK_FRAMES,
        "kv_size": options.kv_size,
        "policy": options.policy,
        "stream_bytes": engine.memory.num_bytes,
        "second_thousand_fps": CHUNK_FRAMES / statistics.median(chunk_seconds[second]),
        "last_thousand_fps": CHUNK_FRAMES / statistics.median(chunk_seconds[last]),
        "second_thousand_resident_bytes": statistics.median(resident[second]),
        "last_thousand_resident_bytes": statistics.median(resident[last]),
        "chunk_seconds": _quantiles(chunk_seconds),
        "first_token_seconds": first_token,
    }


def _first_token_seconds(engine: AbstractHermes, repeats: int = 50) -> dict[str, float]:
    prompt = engine.get_prompt("What is happening now?")
    times = []
    for _ in range(repeats + 5):
        engine.question_answering({"prompt": prompt, "question": "q"}, max_new_tokens=1)
        engine.conv_history.clear()
        assert engine.last_timing is not None
        times.append(engine.last_timing.first_token_seconds)
    return _quantiles(times[5:])


def measure_video(options: argparse.Namespace) -> dict[str, Any]:
    """Watch a long file through the video reader; peak resident memory of the process."""
    with tempfile.TemporaryDirectory() as folder:
        path = options.video or _hour_of_720p(Path(folder))
        engine = _engine(options)
        start, before, count = time.perf_counter(), _peak_bytes(), 0
        with open_video(path, sample_fps=0.5, chunk_frames=CHUNK_FRAMES) as video:
            for chunk in tqdm(video.take(None), desc="chunks"):
                engine.encode_video_chunk(chunk.frames, chunk.times_seconds)
                engine.predict_and_compress()
                count += len(chunk.frames)
        return {
            "device": _device_name(engine.device),
            "num_frames": count,
            "kv_size": options.kv_size,
            "seconds": time.perf_counter() - start,
            "peak_resident_bytes": _peak_bytes(),
            "peak_resident_bytes_before": before,
        }


MEASUREMENTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "stream": measure_stream,
    "video": measure_video,
}


def _hour_of_720p(folder: Path) -> Path:
    encoding = f"from scripts.bench_decode import *; encode_scene(Path({str(folder)!r}) / 's.mp4')"
    subprocess.run([sys.executable, "-c", encoding], check=True, cwd=ROOT)  # not in our peak memory
    repeat(folder / "s.mp4", folder / "hour.mp4", times=3600 // SCENE_SECONDS)
    return folder / "hour.mp4"


def _engine(options: argparse.Namespace) -> AbstractHermes:
    with tempfile.TemporaryDirectory() as folder:
        path = options.model or save_tiny_checkpoint(folder)
        engine, _ = load_model(
            path, kv_size=options.kv_size, device=options.device, policy=options.policy
        )
    engine.clear_cache()
    engine.encode_init_prompt()
    return engine


def _quantiles(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {"p50": statistics.median(ordered), "p95": ordered[int(0.95 * (len(ordered) - 1))]}


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"


if __name__ == "__main__":
    sys.exit(main())
