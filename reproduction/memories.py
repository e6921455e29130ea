"""A table of our own: all memories on the paper's streaming benchmarks, ready to be run.

Frame rates and budgets are those of the paper's main table. Every memory that fits on the GPU
watches beside the others (`video_qa/compare.py`), so that a video is decoded and passes the vision
tower once for all of them; then each run is evaluated like any other. Of the rows only `hermes` has
printed numbers.

    hours  = tower + sum over memories of (their decoder + their questions), in which
    tower  and decoder as in `reproduction.estimates`; the decoder of a memory that reads frames
             afresh is 0 while watching, that of `shallow_stream` has `depth` layers
    questions = questions * (kv_size tokens through all layers, for memories that read afresh;
             and the letter and its bracket)
    memory = weights + activations of a chunk + buffers of every memory, for frames of
             1920 x 1080 (or as many pixels as --max_pixels says), at most SHARE of the GPU
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from hermes.policy_text import read_policy, split_options
from reproduction.checkpoint_sizes import BYTES, SHAPES, Shape
from reproduction.estimates import (
    ANSWER_TOKENS,
    GPUS,
    RESERVED_TOKENS,
    SECONDS,
    UTILISATION,
    UTILISATION_BANDWIDTH,
    decoder_work,
    memory_bytes,
    per_frame,
    tower_work,
)
from reproduction.runs import Run, parsed
from video_qa.compare import main as compare

NAME = "memories"
LARGE_FRAME = (1920, 1080)
SHARE = 0.85
"""Of the GPU's memory; the rest is for what the estimate leaves out."""
MEASURED_ELSEWHERE = (0.81, "28 hours for StreamingBench at 0.5 frames per second, one GPU")
"""Seconds per frame, as others measured the release's code on Qwen2.5-VL-7B at full resolution."""
NOT_OF_COMPARE = ("--judge_model", "--base_url", "--skip_judge")


def watch_side_by_side(
    runs: Sequence[Run], shared: Sequence[str], gpu: str, max_pixels: int | None
) -> int:
    """Let what is missing watch; the largest exit code."""
    return max([compare(argv) for argv in commands(runs, shared, gpu, max_pixels)], default=0)


def commands(
    runs: Sequence[Run], shared: Sequence[str], gpu: str, max_pixels: int | None
) -> Iterator[list[str]]:
    """Arguments of `video_qa/compare.py`: of each model and data set as many memories at a time
    as the GPU holds."""
    given = [option for option in shared if not option.startswith(NOT_OF_COMPARE)]
    for (model, dataset), own in grouped(runs).items():
        sizes = sorted({run.kv_size for run in own})
        policies = list(dict.fromkeys(run.policy for run in own))
        size = fitting(SHAPES[model], model, sizes, gpu, max_pixels)
        root = parsed([f"--dataset={dataset}", *shared]).results_root
        for number, start in enumerate(range(0, len(policies), size), start=1):
            yield [
                f"--model={model}",
                f"--dataset={dataset}",
                f"--sample_fps={own[0].sample_fps:g}",
                f"--kv_sizes={','.join(map(str, sizes))}",
                f"--policies={','.join(policies[start : start + size])}",
                f"--out={root / model / dataset / f'{NAME}-{number}'}",
                *given,
            ]


def fitting(
    shape: Shape, model: str, sizes: Sequence[int], gpu: str, max_pixels: int | None
) -> int:
    """Memories that the GPU holds at a time, each at all these budgets; at least one."""
    chunk = 16 * per_frame(model, shape, max_pixels, LARGE_FRAME)[1]
    beside = memory_bytes(shape, 0, chunk) - shape.stream_bytes(RESERVED_TOKENS, chunk)
    own = sum(shape.stream_bytes(kv_size + RESERVED_TOKENS, chunk) for kv_size in sizes)
    return max(1, int((SHARE * GPUS[gpu].gigabytes * 1e9 - beside) // own))


def grouped(runs: Sequence[Run]) -> dict[tuple[str, str], list[Run]]:
    """(model, data set) -> its runs."""
    found: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        found.setdefault((run.model, run.dataset), []).append(run)
    return found


def dry_run(
    runs: Sequence[Run],
    shared: Sequence[str],
    gpu: str,
    max_pixels: int | None,
    seconds_per_frame: float | None = None,
) -> str:
    """Commands, hours, and what the budgets come to in frames."""
    lines, total = list[str](), 0.0
    for own in grouped(runs).values():
        argvs = list(commands(own, shared, gpu, max_pixels))
        tower, by_run = hours(own, gpu, max_pixels)
        sum_hours = len(argvs) * tower + sum(by_run.values())
        total += sum_hours
        lines += [f"python video_qa/compare.py {shlex.join(argv)}" for argv in argvs]
        head = f"{len(own)} runs, {sum_hours:.1f} hours of one {gpu} by arithmetic"
        lines += [f"    {head}: vision {tower:.2f} a command, and of each memory"]
        lines += [f"    {_costs(name, by_run)}" for name in dict.fromkeys(r.policy for r in own)]
        lines += [f"    {_frames(run, max_pixels)}" for run in _budgets(own)]
        if any(run.policy == "rekv" for run in own):
            lines += [f"    rekv: {_host_gigabytes(own[0], max_pixels):.0f} GB of host memory per "
                      "hour of a video, for each budget"]  # fmt: skip
    frames = sum(_num_frames(run) for run in runs if _layers(run))
    lines += ["", f"{len(runs)} runs, {total:.0f} hours of one {gpu} by arithmetic, nothing of it "
              f"measured", _at_pace(frames, seconds_per_frame)]  # fmt: skip
    lines += ["Measure first: --limit 2, or scripts/bench_efficiency.py; then --seconds_per_frame. "
              "--rows TEXT and --model choose rows."]  # fmt: skip
    formula = (__doc__ or "").strip().partition("\n\n    hours")
    return "\n".join([*lines, "", f"How this is estimated:\n\n    hours{formula[2]}"])


def hours(runs: Sequence[Run], gpu: str, max_pixels: int | None) -> tuple[float, dict[Run, float]]:
    """Of the vision tower once, and of every run without it."""
    run = runs[0]
    shape = SHAPES[run.model]
    patches, _ = per_frame(run.model, shape, max_pixels)
    speed = GPUS[gpu].operations * UTILISATION * 3600
    tower = _num_frames(run) * tower_work(shape, patches) / speed
    return tower, {run: _hours(run, shape, gpu, max_pixels) for run in runs}


def _hours(run: Run, shape: Shape, gpu: str, max_pixels: int | None) -> float:
    _, tokens = per_frame(run.model, shape, max_pixels)
    context = run.kv_size + run.chunk_frames * tokens / 2
    watching = _num_frames(run) * decoder_work(shape, tokens, context)
    watching *= _layers(run) / shape.num_layers
    questions = SECONDS[run.dataset][1]
    asking = 0.0
    if _policy(run).keeps != "tokens":
        asking = questions * decoder_work(shape, run.kv_size, run.kv_size / 2)
    letters = questions * ANSWER_TOKENS.get(run.dataset, 2) * shape.weight_bytes
    seconds = (watching + asking) / (GPUS[gpu].operations * UTILISATION)
    return (seconds + letters / (GPUS[gpu].bandwidth * UTILISATION_BANDWIDTH)) / 3600


def _policy(run: Run) -> Any:
    from hermes import configure, make_policy

    name, options = read_policy(run.policy)
    own, shared = split_options(options)
    config = configure(policy=name, policy_options=own, **{"kv_size": run.kv_size, **shared})
    return make_policy(config, SHAPES[run.model].num_layers)


def _layers(run: Run) -> int:
    """Layers of the language model that a frame passes when it is watched."""
    return int(_policy(run).layers_per_frame)


def _num_frames(run: Run) -> float:
    return SECONDS[run.dataset][0] * run.sample_fps


def _budgets(runs: Sequence[Run]) -> list[Run]:
    return [found for _, found in sorted({run.kv_size: run for run in runs}.items())]


def _at_pace(num_frames: float, seconds_per_frame: float | None) -> str:
    """Hours if every memory whose layers read the frames took so long for each."""
    pace, source = seconds_per_frame or MEASURED_ELSEWHERE[0], "--seconds_per_frame"
    if seconds_per_frame is None:
        source = f"of the release's code, as others measured it: {MEASURED_ELSEWHERE[1]}"
    return f"{num_frames * pace / 3600:,.0f} hours at {pace:g} seconds per frame ({source})"


def _costs(policy: str, by_run: dict[Run, float]) -> str:
    own = {run.kv_size: cost for run, cost in by_run.items() if run.policy == policy}
    return f"{policy:28}" + ", ".join(f"{cost:.2f} at {size:,}" for size, cost in own.items())


def _host_gigabytes(run: Run, max_pixels: int | None) -> float:
    """Keys and values of everything, per hour."""
    shape = SHAPES[run.model]
    _, tokens = per_frame(run.model, shape, max_pixels)
    of_token = 2 * BYTES * shape.num_layers * shape.num_kv_heads * shape.head_dim
    return 3600 * run.sample_fps * tokens * of_token / 1e9


def _frames(run: Run, max_pixels: int | None) -> str:
    """What a budget is worth, and how `two_speed` splits it."""
    from hermes.policies.two_speed import TwoSpeedOptions

    _, tokens = per_frame(run.model, SHAPES[run.model], max_pixels)
    shares, pair = TwoSpeedOptions(), round(2 * tokens)
    recent = max(1, int(shares.recent_share * run.kv_size) // pair)
    key = int(shares.keyframe_share * (run.kv_size - recent * pair)) // pair
    return (
        f"{run.kv_size:,} tokens are {run.kv_size / pair:.1f} pairs of frames, "
        f"{run.kv_size / tokens / run.sample_fps:.0f} s (two_speed: {recent} newest, at most {key} "
        "key pairs)"
    )
