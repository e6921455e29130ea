"""What watching and answering cost, beside the release's way and a cache that only grows.

    python scripts/bench_efficiency.py --model llava_ov_7b --random_weights --device cuda
    python scripts/bench_efficiency.py --model nano --kv_size 200 --frames 64,256 --device cpu

All ways watch the same stream with the same weights in one run, chunk by chunk in turn, and are
first held to the engine's plain loop on a small model: one that computes something else is not
reported, and the exit code is 1, as when something fails. Every reading of a clock waits for the
device. Prints tables and writes a JSON file, as far as it has come after each length of the stream;
docs/benchmarks.md is rewritten when that lies in docs/benchmarks.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch
import transformers

from efficiency.endless import without_end
from efficiency.guard import SmallStream, objection
from efficiency.lane import Lane
from efficiency.measure import Settings, measure, noise
from efficiency.models.random_model import num_parameters, random_engine, shape_of
from efficiency.models.shapes import SHAPES
from efficiency.paths import PATHS
from efficiency.record import free_ceiling, path_record, ratios
from efficiency.roofline import measure_ceilings
from efficiency.streams import measure_streams
from efficiency.table import tables
from efficiency.work import vision_work
from hermes.policy_text import with_policy_text
from inference import AbstractHermes, load_model
from inference.checkpoints.loading import resolve_device
from inference.errors import ModelLoadError
from inference.layers.execution import EXECUTIONS
from inference.vision.visual_chunk import VisualChunk
from scripts.benchmark_report import RESULTS, write_report
from scripts.tiny_checkpoints import save_tiny_checkpoint

RESULTS_NAME = "docs/benchmarks/efficiency-MODEL-DEVICE.json"
logger = logging.getLogger("efficiency.bench")
SMALL = {"chunks": 6, "frames": 8, "side": 56, "kv_size": 48}
"""What the guard watches; every chunk of every family fits the budget."""


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    options = _parse(argv)
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("efficiency").setLevel(logging.INFO)
    try:
        settings = _settings(options)
        engine = without_end(_engine(options))
        _check_positions(engine, settings)
    except (ValueError, ModelLoadError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    command = "python scripts/bench_efficiency.py " + " ".join(argv or sys.argv[1:])
    options.out.parent.mkdir(parents=True, exist_ok=True)

    def write(record: dict[str, Any]) -> None:
        options.out.write_text(json.dumps({"command": command, **record}, indent=1) + "\n")

    record = _measured(engine, settings, options, write)
    print("\n".join(tables(record)))
    if options.out.resolve().parent == RESULTS:
        write_report()
    print(f"written: {options.out}")
    return 1 if record["refused"] or record["failed"] else 0


def _measured(
    engine: AbstractHermes,
    settings: Settings,
    options: argparse.Namespace,
    write: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """The record; `write` gets it as far as it has come."""
    refused = refusals(engine, options.paths)
    kinds = {name: PATHS[name] for name in options.paths if name not in refused}
    ceilings = measure_ceilings(engine.device, engine.dtype)
    seen, vision = vision_work(engine, noise(settings))
    paths = {name: kind(engine) for name, kind in kinds.items()}
    if options.without_vision:
        for path in paths.values():
            path.seen = seen
    weights = sum(w.nbytes for w in (*engine.model.parameters(), *engine.model.buffers()))
    about = {
        **_about(engine, options),
        "settings": asdict(settings),
        "chunk_frames": settings.chunk_frames,
        "ceilings": asdict(ceilings),
        "refused": refused,
        "finished": False,
    }

    def noted(lanes: dict[str, Lane]) -> dict[str, Any]:
        found = about | _of_lanes(
            lanes, lambda lane: path_record(lane, lane.path.engine, vision, ceilings, weights)
        )
        write(found)
        return found

    record = noted(measure(paths, settings, noted))
    if "ours" in kinds:
        given = seen if options.without_vision else None
        for count in options.streams:
            _add_streams(record, engine, count, settings, given)
    record["finished"] = True
    write(record)
    return record


def _of_lanes(
    lanes: dict[str, Lane], record_of: Callable[[Lane], dict[str, Any]]
) -> dict[str, Any]:
    return {
        "tokens_per_chunk": next((lane.tokens_per_chunk for lane in lanes.values()), 0),
        "failed": {name: lane.failed for name, lane in lanes.items() if lane.failed},
        "paths": {name: record_of(lane) for name, lane in lanes.items()},
        "ratios": ratios(lanes),
        "free_ceiling": free_ceiling(lanes["release"]) if "release" in lanes else None,
        "streams": {},
    }


def _add_streams(
    record: dict[str, Any],
    engine: AbstractHermes,
    count: int,
    settings: Settings,
    seen: VisualChunk | None,
) -> None:
    """What fails costs this number of streams only."""
    try:
        record["streams"] |= measure_streams(engine, [count], settings, seen)
    except Exception as error:
        record["failed"][f"{count} streams"] = f"{type(error).__name__}: {error}"
        logger.exception("%d streams", count)


def refusals(engine: AbstractHermes, names: list[str]) -> dict[str, str]:
    """Path -> why it is not reported, found on a small model of the same family and dtype."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = save_tiny_checkpoint(folder, engine.family)
        wide, narrow = (
            load_model(
                checkpoint,
                kv_size=SMALL["kv_size"],
                device=engine.device,
                dtype=dtype,
                sample_fps=1,
                reindex=engine.config.reindex,
                execution=engine.execution,
            )[0]
            for dtype in (torch.float32, engine.dtype)
        )
    generator = torch.Generator().manual_seed(0)
    shape = (SMALL["chunks"], SMALL["frames"], SMALL["side"], SMALL["side"], 3)
    chunks = list(torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator))
    stream = SmallStream(chunks, wide, None if engine.dtype == torch.float32 else narrow)
    found = {name: objection(PATHS[name], stream) for name in names}
    return {name: reason for name, reason in found.items() if reason}


def _about(engine: AbstractHermes, options: argparse.Namespace) -> dict[str, Any]:
    on_gpu = engine.device.type == "cuda"
    return {
        "model": options.model,
        "random_weights": options.random_weights,
        "without_vision": options.without_vision,
        "num_parameters": num_parameters(engine.model),
        "device": torch.cuda.get_device_name(engine.device)
        if on_gpu
        else f"CPU, {torch.get_num_threads()} threads",
        "device_type": engine.device.type,
        "dtype": str(engine.dtype).removeprefix("torch."),
        "policy": engine.config.policy,
        "kv_size": engine.config.kv_size,
        "kv_dtype": engine.config.kv_dtype,
        "sample_fps": engine.sample_fps,
        "reindex": engine.config.reindex,
        "attn": engine.attn,
        "execution": engine.execution,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }


def _settings(options: argparse.Namespace) -> Settings:
    return Settings(
        frames=options.frames,
        chunk_frames=options.chunk,
        frame_size=options.frame_size,
        question_tokens=options.question_tokens,
        num_questions=options.questions,
        new_tokens=options.new_tokens,
        growing_frames=options.growing_frames,
    )


def _engine(options: argparse.Namespace) -> AbstractHermes:
    named = {"kv_size": options.kv_size, "chunk_frames": options.chunk, "reindex": options.reindex}
    if not options.random_weights:
        return load_model(
            options.model,
            device=options.device,
            dtype=options.dtype,
            sample_fps=options.sample_fps,
            policy=options.policy,
            execution=options.execution,
            **named,
        )[0]
    device = resolve_device(options.device)
    if device == "auto":
        raise ValueError("--random_weights builds on one device: give --device cuda, cuda:1 or cpu")
    dtype = options.dtype or ("float32" if device == "cpu" else "float16")
    policy, named = with_policy_text(options.policy, named)
    return random_engine(
        shape_of(options.model),
        device,
        getattr(torch, dtype),
        sample_fps=options.sample_fps,
        policy=policy,
        execution=options.execution,
        **named,
    )


def _check_positions(engine: AbstractHermes, settings: Settings) -> None:
    """Raises ValueError where a question cannot fit behind a full memory."""
    if not settings.num_questions:
        return
    prefix = len(engine.processor.encode(engine.init_prompt))
    needed = prefix + engine.config.kv_size + max(settings.question_tokens) + settings.new_tokens
    if needed > engine.max_positions:
        raise ValueError(
            f"a memory of {engine.config.kv_size} tokens, a question of "
            f"{max(settings.question_tokens)} and an answer need {needed} positions, the model "
            f"has {engine.max_positions}: lower --kv_size or --question_tokens"
        )


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split(",") if word)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected numbers with commas, got {text!r}") from error


def _size(text: str) -> tuple[int, int]:
    words = text.split("x")
    if len(words) != 2 or not all(word.isdigit() and int(word) for word in words):
        raise argparse.ArgumentTypeError(f"expected HEIGHTxWIDTH, got {text!r}")
    return int(words[0]), int(words[1])


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", default="nano", help="key or checkpoint folder (default: nano)")
    keys = ", ".join(SHAPES)
    add("--random_weights", action="store_true", help=f"no checkpoint is read; keys: {keys}")
    add("--without_vision", action="store_true", help="one chunk's features stand for all")
    add("--kv_size", type=int, default=6000, help="visual tokens per layer (default: 6000)")
    add("--sample_fps", type=float, help="frames per second fed (default: of the family)")
    add("--chunk", type=int, default=16, help="frames per chunk (default: 16)")
    lengths = "16,64,256,512,4096"
    add("--frames", type=_numbers, default=_numbers(lengths), help=f"when to ask ({lengths})")
    add("--frame_size", type=_size, default=(448, 448), help="HEIGHTxWIDTH (default: 448x448)")
    add("--policy", default="hermes", help="memory policy, perhaps with options")
    add("--reindex", choices=("lazy", "eager"), default="lazy", help="default: lazy")
    add("--execution", choices=("auto", *EXECUTIONS), default="auto", help="of the path `ours`")
    add("--streams", type=_numbers, default=(), help="measure so many streams too, e.g. 1,2,4,8")
    add("--paths", nargs="+", choices=list(PATHS), default=list(PATHS), help="default: all")
    add("--dtype", choices=("float16", "bfloat16", "float32"), help="default: of the device")
    add("--device", help="cpu, cuda, cuda:1, auto (default: a GPU if there is one)")
    add("--questions", type=int, default=10, help="per length and size; 0: none (default: 10)")
    add("--question_tokens", type=_numbers, default=(60, 300), help="sizes (default: 60,300)")
    add("--new_tokens", type=int, default=16, help="tokens per answer (default: 16)")
    add("--growing_frames", type=int, default=256, help="end of the growing cache (default: 256)")
    add("--out", type=Path, help=f"JSON file (default: {RESULTS_NAME})")
    options = parser.parse_args(argv)
    kind = (options.device or ("cuda" if torch.cuda.is_available() else "cpu")).split(":")[0]
    name = f"efficiency-{Path(options.model).name}-{kind}.json"
    options.out = options.out or RESULTS / name
    return options


if __name__ == "__main__":
    sys.exit(main())
