"""Command line: `python -m interchange {import|export} FOLDER`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from eval.eval_multiple_choice import main as evaluate
from interchange.import_results import ImportedResultsError, Origin, import_results
from interchange.lmms_eval_samples import export_samples
from video_qa.questions.benchmarks import DATASETS
from video_qa.run_infer import evaluators_of
from video_qa.runner.run_arguments import results_path
from video_qa.runner.termination import exit_code
from video_qa.settings.model_registry import model_name


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    arguments = _parser().parse_args(argv)
    return exit_code(lambda: arguments.act(arguments))


def _import(arguments: argparse.Namespace) -> int:
    given = {name: getattr(arguments, name) for name in ("model", "dataset", "sample_fps")}
    origin = Origin.of(
        arguments.folder, **given, kv_size=arguments.kv_size, policy=arguments.policy
    )
    parent = arguments.results_root / model_name(origin.model) / origin.dataset
    policy = "hermes" if origin.policy == "released" else origin.policy
    out = results_path(parent, origin.sample_fps, origin.kv_size, policy, "released")
    anno_path = arguments.anno_path or DATASETS[origin.dataset].annotation_file
    if anno_path is None:
        raise ImportedResultsError(f"give --anno_path: {origin.dataset} has no file of its own")
    count = import_results(origin, Path(anno_path), out, allow_missing=arguments.allow_missing)
    print(f"{count} rows of {origin.folder} imported into {out}")
    results = out / "results.csv"
    evaluators = evaluators_of(origin.dataset, results) or ("judge_free",)
    return max(evaluate([name, "--results_path", str(results)]) for name in evaluators)


def _export(arguments: argparse.Namespace) -> int:
    print(export_samples(arguments.folder, arguments.out, arguments.anno_path))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m interchange", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="{import,export}")
    text = "bring results of the authors' code or of a fork into a run folder, and evaluate them"
    add = _command(commands, "import", text, _import)
    add("--model", help="default: as the folder's path says")
    add("--dataset", help="default: as the folder's path says")
    add("--sample_fps", type=float, help="default: as the folder's name says")
    add("--kv_size", type=int, help="default: as the folder's name says")
    add("--policy", help="what the run is called in tables (default: released, or a fork's mode)")
    add("--results_root", type=Path, default=Path("results/imported"), help="default: %(default)s")
    add("--allow_missing", action="store_true", help="import although questions have no row")
    text = "write a run of ours as a sample log of lmms-eval"
    add = _command(commands, "export", text, _export)
    add("--out", type=Path, default=Path("results/lmms_eval"), help="default: %(default)s")
    return parser


def _command(commands: Any, name: str, text: str, act: Callable[..., int]) -> Callable[..., Any]:
    command = commands.add_parser(name, help=text, description=text)
    command.set_defaults(act=act)
    command.add_argument("folder", type=Path, help="folder of results")
    command.add_argument("--anno_path", type=Path, help="annotation file (default: the dataset's)")
    return command.add_argument


if __name__ == "__main__":
    sys.exit(main())
