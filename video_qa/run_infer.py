r"""Run a benchmark: a model watches the videos of a dataset and answers its questions.

    python video_qa/run_infer.py --model llava_ov_7b --dataset streamingbench \
        --num_chunks 8 --sample_fps 0.5 --kv_size 6000

Results lie in results/{model}/{dataset}/fps{sample_fps}-kv{kv_size}: results.csv,
predictions.jsonl, config.json, environment.json, logs/, and what the evaluators write. Every answer
is stored at once; the same command continues a run that was stopped. Exit code 0: everything was
answered and evaluated; 1: some of it failed; 2: the command cannot be carried out; 130: stopped.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a script: import from the repository root, not from here
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from video_qa import devices as device_choice
from video_qa.annotations import load_annotations
from video_qa.benchmark_run import RunOutcome, RunPlan, run_inference
from video_qa.benchmarks import DATASETS
from video_qa.model_registry import check_names, model_keys, model_name, num_devices
from video_qa.run_folder import RunFolderError, open_run_folder
from video_qa.run_settings import RunSettings, SettingsError, add_settings_arguments
from video_qa.worker import boolean

SHOWN_FAILURES = 10


def main(argv: Sequence[str] | None = None) -> int:
    """Run, merge, evaluate; returns the exit code."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        with _termination_as_interrupt():
            return _run(arguments)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command continues", file=sys.stderr)
        return 130


def _run(arguments: argparse.Namespace) -> int:
    path = _results_path(arguments)
    print(f"Execute {arguments.dataset} evaluation", flush=True)
    if arguments.only_eval:
        return _evaluate(arguments, path)
    plan = _plan(arguments)
    with open_run_folder(path) as folder:
        if arguments.overwrite:
            folder.clear()
        outcome = run_inference(plan, folder)
        inference_code = _report(outcome, path)
        if outcome.missing:
            return inference_code
        return max(inference_code, _evaluate(arguments, path))


def _results_path(arguments: argparse.Namespace) -> Path:
    if arguments.save_dir is not None:
        return arguments.save_dir
    if arguments.kv_size is None:
        raise SettingsError("--kv_size is missing: visual tokens kept per layer, e.g. 6000")
    parent = arguments.results_root / model_name(arguments.model) / arguments.dataset
    return results_path(
        parent, arguments.sample_fps, arguments.kv_size, arguments.policy, arguments.profile
    )


def results_path(parent: Path, fps: float, kv_size: int, policy: str, profile: str) -> Path:
    """``fps{fps}-kv{kv_size}``, then policy and profile where they are not the released ones.

    The release wrote ``fps1`` when the rate was left out and ``fps1.0`` when it was given as 1; of
    two such spellings the folder that exists is taken.
    """
    suffix = "".join(f"-{name}" for name in (policy, profile) if name not in ("hermes", "released"))
    spellings = dict.fromkeys((str(fps), f"{float(fps):g}", str(float(fps))))
    paths = [parent / f"fps{spelling}-kv{kv_size}{suffix}" for spelling in spellings]
    return next((path for path in paths if path.exists()), paths[0])


def _plan(arguments: argparse.Namespace) -> RunPlan:
    benchmark = DATASETS[arguments.dataset]
    arguments.streaming = benchmark.streaming
    settings = RunSettings.from_arguments(arguments)
    check_names(settings)
    for name in ("num_chunks", "limit"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise SettingsError(f"--{name} must be at least 1, got {value}")
    if arguments.video_root is not None and not arguments.video_root.is_dir():
        raise SettingsError(f"--video_root {arguments.video_root} is not a folder")
    anno_path = arguments.anno_path or Path(benchmark.annotation_file)
    return RunPlan(
        settings=settings,
        dataset=arguments.dataset,
        kind=benchmark.kind,
        anno_path=anno_path,
        videos=load_annotations(anno_path, benchmark.kind)[: arguments.limit],
        devices=_devices(arguments.devices, num_devices(arguments.model)),
        num_chunks=arguments.num_chunks,
        video_root=arguments.video_root,
        limit=arguments.limit,
        debug=arguments.debug,
    )


def _devices(requested: str | None, gpus_per_worker: int) -> list[device_choice.WorkerDevice]:
    if requested == "cpu":
        return [device_choice.CPU]
    import torch  # only to count GPUs, which starts nothing on them

    visible = device_choice.visible_gpus(os.environ, torch.cuda.device_count())
    return device_choice.worker_devices(requested, visible, gpus_per_worker)


def _report(outcome: RunOutcome, path: Path) -> int:
    failed = outcome.failed
    answered = len(outcome.predictions) - len(failed)
    print(f"{answered} questions answered; results in {path}")
    for complaint in outcome.complaints:
        print(f"FAILED: {complaint}", file=sys.stderr)
    if failed:
        videos = {prediction.video_index for prediction in failed}
        print(
            f"FAILED: {len(failed)} questions of {len(videos)} video(s) have an error instead of "
            "an answer (column 'error'; the same command tries them again):",
            file=sys.stderr,
        )
    for prediction in failed[:SHOWN_FAILURES]:
        where = f"video {prediction.video_id}, question {prediction.question_index}"
        print(f"  {where}: {prediction.error}", file=sys.stderr)
    if len(failed) > SHOWN_FAILURES:
        print(f"  ... and {len(failed) - SHOWN_FAILURES} more", file=sys.stderr)
    if outcome.missing:
        print(
            f"FAILED: {len(outcome.missing)} questions were not reached, so results.csv was not "
            "written; what was answered is kept, and the same command answers the rest",
            file=sys.stderr,
        )
    return 1 if failed or outcome.missing or outcome.complaints else 0


def _evaluate(arguments: argparse.Namespace, path: Path) -> int:
    results = path / "results.csv"
    if not results.is_file():
        raise RunFolderError(f"no results to evaluate at {results}; run without --only_eval first")
    evaluators = DATASETS[arguments.dataset].evaluators
    if evaluators:
        choice = importlib.import_module("eval.eval_multiple_choice")
        codes = [choice.main([name, "--results_path", str(results)]) for name in evaluators]
        return 1 if any(codes) else 0
    command = ["--pred_path", str(results), "--output_dir", str(path / "tmp")]
    command += ["--output_json", str(path / "results.json")]
    for name in ("judge_model", "base_url"):
        if getattr(arguments, name) is not None:
            command += [f"--{name}", getattr(arguments, name)]
    if arguments.skip_judge:
        print(f"not judged; later: python eval/eval_open_ended.py {shlex.join(command)}")
        return 0
    return 1 if importlib.import_module("eval.eval_open_ended").main(command) else 0


@contextmanager
def _termination_as_interrupt() -> Iterator[None]:
    """SIGTERM stops the workers and keeps the answers just as Ctrl-C does."""
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


class _ModelKeys:
    """The names of models for the help text, looked up (which is slow) when it is shown."""

    def __str__(self) -> str:
        return ", ".join(model_keys())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="run_infer.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add: Any = parser.add_argument
    model = add("--model", default="llava_ov_7b", help="%(keys)s; or a checkpoint folder or hub id")
    model.keys = _ModelKeys()
    add("--dataset", choices=tuple(DATASETS), required=True, help="benchmark")
    add("--num_chunks", type=int, default=1, help="number of worker processes (default: 1)")
    add("--only_eval", action="store_true", help="evaluate the results that exist")
    add("--sample_fps", type=float, default=1, help="frames per second to watch (default: 1)")
    add("--kv_size", type=int, help="visual tokens kept per layer; needed")
    add("--debug", type=boolean, default=False, help="true: only each worker's first video")
    add("--anno_path", type=Path, help="annotation file (default: the dataset's under data/)")
    add(
        "--video_root",
        type=Path,
        help="folder with the videos: of each annotated path the longest end that exists below it "
        "is taken (default: the path as it stands, else below the working directory)",
    )
    add("--devices", "--device", help=f"{device_choice.HELP}; default: all GPUs, else cpu")
    add("--limit", type=int, help="only the first LIMIT videos")
    add("--overwrite", action="store_true", help="throw away what the results folder holds")
    add("--results_root", type=Path, default=Path("results"), help="default: %(default)s")
    add("--save_dir", type=Path, help="results folder, instead of one below --results_root")
    add("--skip_judge", action="store_true", help="do not judge open-ended answers now")
    add("--judge_model", help="passed on to eval/eval_open_ended.py")
    add("--base_url", help="passed on to eval/eval_open_ended.py")
    add_settings_arguments(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
