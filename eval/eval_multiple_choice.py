"""Evaluate multiple-choice results, and open answers without a judge.

    python eval/eval_multiple_choice.py SUBCOMMAND --results_path FILE

SUBCOMMAND is general, ovo_forward, videomme, egoschema, words or judge_free.
Prints the report and writes it beside the results: eval_results.txt (general),
eval_results_NAME.txt (ovo_forward, videomme, words, judge_free), submission.csv (egoschema); the
numbers of each subcommand go to its own section of metrics.json, and under which protocol they were
made to the section `protocol`. Runs no model.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

if __name__ == "__main__":  # run as a script, sys.path starts with eval/ instead of its parent
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from eval.files import merge_metrics
from eval.multiple_choice.egoschema import evaluate_egoschema
from eval.multiple_choice.general import evaluate_general, evaluate_words
from eval.multiple_choice.ovo_forward import evaluate_ovo_forward
from eval.multiple_choice.reports import Report
from eval.multiple_choice.videomme import evaluate_videomme
from eval.open_ended.judge_free import evaluate_judge_free
from eval.protocol import record_protocol
from eval.results_table import ResultsError, locate_results
from eval.whole_file import write_text

SUBCOMMANDS: dict[str, tuple[Callable[[Path, bool], Report], str]] = {
    "general": (evaluate_general, "accuracy overall, per task and per category"),
    "egoschema": (evaluate_egoschema, "write submission.csv for the EgoSchema server"),
    "ovo_forward": (
        evaluate_ovo_forward,
        "forward track of OVO-Bench, official and strict, and the average of its three tracks",
    ),
    "videomme": (evaluate_videomme, "accuracy per duration: short, medium, long"),
    "words": (evaluate_words, "open answers of one word, compared with the reference as text"),
    "judge_free": (evaluate_judge_free, "open answers: the same words, and yes or no"),
}


def main(
    argv: Sequence[str] | None = None, prog: str | None = None, epilog: str | None = None
) -> int:
    """Run the command line.

    Args:
        argv: without the program's name.
        prog: that name; default: the one it was called by.
        epilog: last line of the help.

    Returns:
        0, or 2 without a subcommand, when the results cannot be evaluated, or when the report
        cannot be written.
    """
    parser = build_parser(prog, epilog)
    args = parser.parse_args(argv)
    if args.subcommand is None:
        parser.print_help(sys.stderr)
        return 2
    evaluate, _ = SUBCOMMANDS[args.subcommand]
    path = locate_results(Path(args.results_path))
    try:
        publish(evaluate(path, getattr(args, "debug", False)), path.parent)
        record_protocol(path)
    except (ResultsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def publish(report: Report, folder: Path) -> None:
    """Print `report`, then write its files and its section of metrics.json into `folder`."""
    for line in report.lines:
        print(line)
    for name, text in report.files.items():
        write_text(folder / name, text)
        print(f"Evaluation report saved to: {folder / name}")
    print(f"Metrics saved to: {merge_metrics(folder, report.section, report.metrics)}")


def build_parser(prog: str | None = None, epilog: str | None = None) -> argparse.ArgumentParser:
    """The command line of the release."""
    parser = argparse.ArgumentParser(
        prog=prog, epilog=epilog, description="Evaluate multiple-choice results."
    )
    commands = parser.add_subparsers(dest="subcommand", metavar="{" + ",".join(SUBCOMMANDS) + "}")
    for name, (_, help_text) in SUBCOMMANDS.items():
        command = commands.add_parser(name, help=help_text, description=help_text)
        command.add_argument(
            "--results_path",
            required=True,
            metavar="FILE",
            help="results.csv of a run, or a single shard such as 1_0.csv",
        )
        if name != "egoschema":
            command.add_argument(
                "--debug", action="store_true", help="print the rows without a readable choice"
            )
    return parser


if __name__ == "__main__":
    sys.exit(main())
