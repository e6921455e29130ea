"""The runner's command line: its arguments, and what they amount to."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from video_qa.launchers.choice import add_launcher_arguments
from video_qa.launchers.launcher import Launcher
from video_qa.questions.annotation_file import load_annotations
from video_qa.questions.benchmarks import DATASETS, is_stream
from video_qa.runner import devices as device_choice
from video_qa.runner.benchmark_run import RunPlan
from video_qa.runner.worker import boolean
from video_qa.settings.model_checks import check_model
from video_qa.settings.model_registry import check_names, model_name, num_devices
from video_qa.settings.run_settings import (
    IN_ORDER,
    MODEL_HELP,
    RunSettings,
    SettingsError,
    add_settings_arguments,
)

NUM_CHUNKS_HELP = "number of workers (default: 1; with --launcher ray as many as there is room for)"
ANNOTATION_HELP = "annotation file (default: the dataset's under data/; needed for custom)"


def parser(description: str, prog: str) -> argparse.ArgumentParser:
    """All arguments of ``video_qa/run_infer.py``."""
    built = argparse.ArgumentParser(
        prog=prog,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = built.add_argument
    add("--model", default="llava_ov_7b", help=MODEL_HELP)
    add("--dataset", choices=tuple(DATASETS), required=True, help="benchmark")
    add("--num_chunks", type=int, help=NUM_CHUNKS_HELP)
    add("--only_eval", action="store_true", help="evaluate the results that exist")
    add("--sample_fps", type=float, default=1, help="frames per second to watch (default: 1)")
    add("--kv_size", type=int, help="visual tokens kept per layer; needed")
    add("--debug", type=boolean, default=False, help="true: only each worker's first video")
    add("--anno_path", type=Path, help=ANNOTATION_HELP)
    add(
        "--video_root",
        type=Path,
        help="folder with the videos: of each annotated path the longest end that exists below it "
        "is taken (default: the path as it stands, else below the working directory)",
    )
    add("--devices", "--device", help=f"{device_choice.HELP}; default: all GPUs, else cpu")
    add("--limit", type=int, help="only the first LIMIT videos")
    add(
        "--overwrite",
        action="store_true",
        help="throw away what an earlier run wrote there",
    )
    add("--results_root", type=Path, default=Path("results"), help="default: %(default)s")
    add("--save_dir", type=Path, help="results folder, instead of one below --results_root")
    add("--skip_judge", action="store_true", help="do not judge open-ended answers now")
    add("--judge_model", help="passed on to eval/eval_open_ended.py")
    judge = "passed on to eval/eval_open_ended.py, whose key is OPENAI_API_KEY"
    add("--base_url", help=judge)
    add_settings_arguments(built)
    add_launcher_arguments(built)
    return built


def results_folder(arguments: argparse.Namespace) -> Path:
    """Where the results lie. Raises SettingsError when the budget that names it is missing."""
    if arguments.save_dir is not None:
        return arguments.save_dir
    if arguments.kv_size is None:
        raise SettingsError("--kv_size is missing: visual tokens kept per layer, e.g. 6000")
    named = (arguments.kv_size, arguments.policy, arguments.profile)
    return results_path(dataset_folder(arguments), arguments.sample_fps, *named)


def dataset_folder(arguments: argparse.Namespace) -> Path:
    """Where the runs of a model on a data set lie; on one of one's own, under its file's name."""
    dataset = arguments.dataset
    if DATASETS[dataset].annotation_file is None:
        dataset = annotation_path(arguments).stem
    return arguments.results_root / model_name(arguments.model) / dataset


def annotation_path(arguments: argparse.Namespace) -> Path:
    """The annotation file. Raises SettingsError where it has to be named and is not."""
    known = DATASETS[arguments.dataset].annotation_file
    if arguments.anno_path is None and known is None:
        raise SettingsError(
            f"--anno_path is missing: --dataset {arguments.dataset} takes any file in the schema "
            "of data/README.md"
        )
    return arguments.anno_path or Path(str(known))


def results_path(
    parent: Path, fps: float, kv_size: int, policy: str, profile: str, turns: str = IN_ORDER
) -> Path:
    """``fps{fps}-kv{kv_size}``, then policy, profile and turns where they are not the usual ones.

    The release wrote ``fps1`` when the rate was left out and ``fps1.0`` when it was given as 1; of
    two such spellings the folder that exists is taken.
    """
    usual = ("hermes", "released", IN_ORDER)
    suffix = "".join(f"-{name}" for name in (policy, profile, turns) if name not in usual)
    spellings = dict.fromkeys((str(fps), f"{float(fps):g}", str(float(fps))))
    paths = [parent / f"fps{spelling}-kv{kv_size}{suffix}" for spelling in spellings]
    return next((path for path in paths if path.exists()), paths[0])


def plan_run(arguments: argparse.Namespace, launcher: Launcher) -> RunPlan:
    """Check everything that can be checked before anything is started.

    Raises:
        SettingsError, AnnotationError, DeviceError, ModelLoadError, LauncherError: each names what
            is wrong and what is known.
    """
    benchmark = DATASETS[arguments.dataset]
    arguments.streaming = benchmark.streaming
    settings = RunSettings.among(vars(arguments))
    check_names(settings)
    for name in ("num_chunks", "limit"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise SettingsError(f"--{name} must be at least 1, got {value}")
    root, is_here = arguments.video_root, not launcher.is_elsewhere
    if root is not None and is_here and not root.is_dir():
        raise SettingsError(f"--video_root {root} is not a folder")
    anno_path = annotation_path(arguments)
    everything = load_annotations(anno_path, benchmark.kind)
    videos = everything[: arguments.limit]
    settings = replace(settings, streaming=is_stream(benchmark, everything))
    check_model(settings)
    return RunPlan(
        settings=settings,
        dataset=arguments.dataset,
        kind=benchmark.kind,
        anno_path=anno_path,
        videos=videos,
        devices=launcher.devices(arguments.devices, num_devices(arguments.model)),
        num_chunks=launcher.num_workers(arguments.num_chunks),
        launcher=launcher,
        video_root=root,
        limit=arguments.limit,
        debug=arguments.debug,
    )
