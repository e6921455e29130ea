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
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):  # run as a script: import from the repository root, not from here
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from video_qa.launchers.choice import job_script, open_launcher
from video_qa.questions.annotations import Video
from video_qa.questions.benchmarks import DATASETS, EVALUATOR_OF_KIND
from video_qa.results.outcome_lines import corruption_lines, failure_lines
from video_qa.results.results_csv import kinds_in
from video_qa.results.run_folder import RunFolderError, open_run_folder
from video_qa.runner.benchmark_run import RunOutcome, empty_folder, run_inference
from video_qa.runner.run_arguments import parser, plan_run, results_folder
from video_qa.runner.termination import exit_code

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None, prog: str = "run_infer.py") -> int:
    """Run, merge, evaluate; returns the exit code."""
    arguments = parser(__doc__, prog).parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    return exit_code(lambda: _run(arguments))


def _run(arguments: argparse.Namespace) -> int:
    path = results_folder(arguments)
    if not arguments.dry_run:  # whose output is a script
        print(f"Execute {arguments.dataset} evaluation", flush=True)
    if arguments.base_url is not None:  # before it stands in environment.json
        importlib.import_module("eval.open_ended.judge_access").check_base_url(arguments.base_url)
    if arguments.only_eval:
        return _evaluate(arguments, path)
    with open_launcher(arguments, path) as launcher:
        plan = plan_run(arguments, launcher)
        if arguments.dry_run:
            print(job_script(launcher, min(plan.num_chunks, len(plan.videos))))
            return 0
        with open_run_folder(path) as folder:
            empty_folder(plan, folder, arguments.overwrite)
            outcome = run_inference(plan, folder)
            inference_code = _report(outcome, plan.videos, path)
            if outcome.missing:
                return inference_code
            return max(inference_code, _evaluate(arguments, path))


def _report(outcome: RunOutcome, videos: Sequence[Video], path: Path) -> int:
    failed = outcome.failed
    answered = len(outcome.predictions) - len(failed)
    print(f"{answered} questions answered; results in {path}")
    for complaint in outcome.complaints:
        print(f"FAILED: {complaint}", file=sys.stderr)
    if failed:
        num_videos = len({prediction.video_index for prediction in failed})
        print(
            f"FAILED: {len(failed)} questions of {num_videos} video(s) have an error instead of "
            "an answer (column 'error'; the same command tries them again):",
            file=sys.stderr,
        )
    for line in failure_lines(failed, videos):
        print(line, file=sys.stderr)
    for line in corruption_lines(outcome.predictions.values()):
        logger.warning(line)
    if outcome.missing:
        print(
            f"FAILED: {len(outcome.missing)} questions were not reached, so results.csv was not "
            "written; what was answered is kept, and the same command answers the rest",
            file=sys.stderr,
        )
    return 1 if failed or outcome.missing or outcome.complaints else 0


def evaluators_of(dataset: str, results: Path) -> Sequence[str]:
    """Sub-commands of `eval/eval_multiple_choice.py`; empty where a judge is needed."""
    if DATASETS[dataset].kind is not None:
        return DATASETS[dataset].evaluators
    return [EVALUATOR_OF_KIND[kind] for kind in kinds_in(results)]


def _evaluate(arguments: argparse.Namespace, path: Path) -> int:
    results = path / "results.csv"
    if not results.is_file():
        raise RunFolderError(f"no results to evaluate at {results}; run without --only_eval first")
    if evaluators := evaluators_of(arguments.dataset, results):
        choice = importlib.import_module("eval.eval_multiple_choice")
        codes = [choice.main([name, "--results_path", str(results)]) for name in evaluators]
        return 1 if any(codes) else 0
    choice = importlib.import_module("eval.eval_multiple_choice")
    code = choice.main(["judge_free", "--results_path", str(results)])
    command = ["--pred_path", str(results), "--output_dir", str(path / "tmp")]
    command += ["--output_json", str(path / "results.json")]
    for name in ("judge_model", "base_url"):
        if getattr(arguments, name) is not None:
            command += [f"--{name}", getattr(arguments, name)]
    judged = False
    if not arguments.skip_judge:
        judged = importlib.import_module("eval.eval_open_ended").main(command) == 0
    if not judged:
        print(f"not judged; later: python eval/eval_open_ended.py {shlex.join(command)}")
    return 1 if code or not (judged or arguments.skip_judge) else 0


if __name__ == "__main__":
    sys.exit(main())
