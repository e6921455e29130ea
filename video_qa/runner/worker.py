"""Command line of one worker; see ``video_qa/hermes_vqa.py``."""

from __future__ import annotations

import argparse
import json
import logging
import random
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from eval.whole_file import write_text
from video_qa.base import BaseVQA
from video_qa.questions.annotation_file import load_annotations
from video_qa.questions.annotations import Video
from video_qa.questions.benchmarks import DATASETS
from video_qa.results.prediction import Key
from video_qa.results.predictions import PredictionLog, answer_texts, read_predictions
from video_qa.results.results_csv import kind_of, write_results_csv
from video_qa.runner.orphans import end_with
from video_qa.runner.shards import (
    PREDICTIONS_FILE,
    SOME_QUESTIONS_FAILED,
    shard,
    shard_stem,
    unfinished,
)
from video_qa.settings.model_registry import load_engine
from video_qa.settings.run_identity import BESIDE, run_identity
from video_qa.settings.run_settings import (
    IN_ORDER,
    RunSettings,
    SettingsError,
    add_settings_arguments,
    fingerprint,
)

logger = logging.getLogger(__name__)

SEED = 2024
STORED = ("anno_path", "dataset", "debug", "limit", "video_root")
"""What a worker takes from config.json beside the settings."""


def main(question_loop: Callable[..., BaseVQA], argv: Sequence[str] | None = None) -> int:
    """Run one shard; returns the exit code.

    Args:
        question_loop: made of a model, settings, run id and video root (``HermesVQA``).
    """
    try:
        arguments = _arguments(argv)
        if arguments.runner_pid is not None:
            end_with(arguments.runner_pid)
        _set_up_logging(arguments.debug)
        random.seed(SEED)
        logger.info("seed: %d", SEED)
        return _run_shard(question_loop, arguments)
    except (ValueError, OSError, ImportError) as error:
        logger.debug("details", exc_info=True)
        print(f"error: {error}", file=sys.stderr)
        return 2


def _run_shard(question_loop: Callable[..., BaseVQA], arguments: argparse.Namespace) -> int:
    settings = RunSettings.among(vars(arguments))
    if settings.turns != IN_ORDER:
        raise SettingsError(
            f"{arguments.save_dir} is a run with turns '{settings.turns}', which this program asks "
            "in order only; video_qa/robustness.py continues it"
        )
    folder, anno_path = Path(arguments.save_dir), Path(arguments.anno_path)
    kind = DATASETS[arguments.dataset].kind if arguments.dataset else None
    videos = load_annotations(anno_path, kind)[: arguments.limit]
    run_id = fingerprint(run_identity(settings, anno_path, arguments.device))
    folder.mkdir(parents=True, exist_ok=True)
    stem = shard_stem(arguments.num_chunks, arguments.chunk_idx)
    merged, own = folder / PREDICTIONS_FILE, folder / f"{stem}.jsonl"
    # The shard depends on the merged predictions alone, so that all workers deal out alike.
    answered = answer_texts(read_predictions([merged], run_id))
    mine = shard(
        unfinished(videos, answered), arguments.num_chunks, arguments.chunk_idx, arguments.debug
    )
    answered = answer_texts(read_predictions([merged, own], run_id))
    if unfinished(mine, answered):
        model = load_engine(settings, arguments.device)
        engine_path = folder / f"{stem}.engine.json"
        write_text(engine_path, json.dumps(model.describe()))
        root = arguments.video_root
        vqa = question_loop(model, settings, run_id, None if root is None else Path(root))
        _answer_videos(vqa, unfinished(mine, answered), answered, own)
        write_text(engine_path, json.dumps(model.describe()))
    predictions = read_predictions([merged, own], run_id)
    write_results_csv(folder / f"{stem}.csv", mine, predictions, kind or kind_of(videos))
    return SOME_QUESTIONS_FAILED if unfinished(mine, answer_texts(predictions)) else 0


def _answer_videos(
    vqa: BaseVQA, videos: Sequence[Video], answered: Mapping[Key, str], path: Path
) -> None:
    with PredictionLog(path) as log:
        for video in videos:
            logger.info("video %s: %s", video.video_id, video.video_path)
            stored = {i: text for (index, i), text in answered.items() if index == video.index}
            for prediction in vqa.analyze_a_video(video, stored):
                log.append(prediction)


def _set_up_logging(debug: bool) -> None:
    level = logging.DEBUG if debug else logging.INFO
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if not debug:
        warnings.filterwarnings("ignore")


def boolean(text: str) -> bool:
    """``true/1/yes`` or ``false/0/no`` in any case, as argparse type."""
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in words:
        raise argparse.ArgumentTypeError(f"expected true or false, got '{text}'")
    return words[text.lower()]


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.config is not None:
        from video_qa.results.stored import config_of  # needs pydantic

        config = config_of(arguments.config)
        stored = {name: config[name] for name in STORED} | {"save_dir": arguments.config.parent}
        beside = {
            field.name: config.get(field.name, field.default)
            for field in fields(RunSettings)
            if field.name in BESIDE
        }
        vars(arguments).update(asdict(RunSettings.among(config["settings"] | beside)) | stored)
    if arguments.save_dir is None or arguments.anno_path is None:
        parser.error("--save_dir and --anno_path are needed, or --config")
    return arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hermes_vqa.py", description=__doc__)
    add: Any = parser.add_argument
    add("--model", default="llava_ov_7b", help="model key, checkpoint folder or hub id")
    add("--sample_fps", type=float, default=1.0, help="frames per second (default: 1)")
    add("--kv_size", type=int, help="visual tokens kept per layer")
    add("--num_chunks", type=int, default=1, help="number of shards (default: 1)")
    add("--chunk_idx", type=int, default=0, help="which shard this worker takes (default: 0)")
    add("--save_dir", help="results folder, created")
    add("--anno_path", help="annotation file")
    add("--config", type=Path, help="config.json of a run: it decides all but shard and device")
    add("--video_root", help="folder under which the annotated video paths are found")
    add("--dataset", choices=sorted(DATASETS), help="check that all questions are of its kind")
    add("--limit", type=int, help="only the first LIMIT videos of the file")
    add("--device", help="cpu, cuda or cuda:N; default: a GPU if there is one")
    for name, default in (("--debug", True), ("--streaming", False)):
        add(name, type=boolean, nargs="?", const=True, default=default, help="true or false")
    add("--runner_pid", type=int, help=argparse.SUPPRESS)
    add_settings_arguments(parser)
    return parser
