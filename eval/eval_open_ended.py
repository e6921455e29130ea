r"""Judge open-ended results with a language model behind a chat-completions server.

    python eval/eval_open_ended.py --pred_path results.csv --output_dir tmp \
        --output_json results.json

Verdicts are kept one by one under OUTPUT_DIR/verdicts by the content of what was judged, so an
interrupted run continues where it was and a changed prediction is judged anew. Exit codes:
0 all rows judged, 1 some rows not judged (run the same command again), 2 bad input.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

if __name__ == "__main__":  # run as a script, sys.path starts with eval/ instead of its parent
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from eval.open_ended.answers import OpenEnded, write_row_files
from eval.open_ended.judge import Judge, JudgeConfig, JudgeStopped
from eval.open_ended.judge_access import ADVICE, read_key
from eval.open_ended.judge_prompt import content_hash, judge_request
from eval.open_ended.summary import publish
from eval.open_ended.verdicts import Verdict, VerdictCache
from eval.results_table import ResultsError, locate_results


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run the command line; `argv` excludes the program name.

    Returns:
        0 all rows judged, 1 some rows not judged, 2 bad input or nowhere to write.
    """
    parser = build_parser(prog)
    args = vars(parser.parse_args(argv))
    path = locate_results(Path(args.pop("pred_path")))
    output_dir, output_json = Path(args.pop("output_dir")), Path(args.pop("output_json"))
    try:
        key_file = args.pop("api_key_file")
        config = JudgeConfig(**args, api_key=None if key_file is None else read_key(key_file))
    except ValueError as error:
        parser.error(str(error))
    try:
        return evaluate(path, output_dir, output_json, config)
    except ResultsError as error:
        print(f"error: {error}", file=sys.stderr)
    except OSError as error:
        print(f"error: cannot write the verdicts: {error}", file=sys.stderr)
    return 2


def evaluate(path: Path, output_dir: Path, output_json: Path, config: JudgeConfig) -> int:
    """Judge the results at `path` and write all files; returns the exit code.

    Raises:
        ResultsError: the CSV cannot be evaluated.
        OSError: a file cannot be written.
    """
    results = OpenEnded.read(path)
    requests = {
        row.key: judge_request(config.model, row.question, row.answer, row.pred_answer)
        for row in results.rows
    }
    hashes = {key: content_hash(request) for key, request in requests.items()}
    cache = VerdictCache(output_dir / "verdicts")
    known = cache.known(hashes.values())
    # Before judging too, so that a killed run leaves no verdict on an earlier prediction behind.
    write_row_files(output_dir, results.rows, _by_row(hashes, known))
    pending = {
        hashes[key]: request for key, request in requests.items() if hashes[key] not in known
    }
    reasons = judge_pending(pending, known, cache, config)
    verdicts = _by_row(hashes, known)
    write_row_files(output_dir, results.rows, verdicts)
    unjudged = {
        key: reasons.get(digest, "not tried")
        for key, digest in hashes.items()
        if key not in verdicts
    }
    publish(results, verdicts, unjudged, output_json, config.model)
    return 1 if unjudged else 0


def _by_row(hashes: Mapping[str, str], known: Mapping[str, Verdict]) -> dict[str, Verdict]:
    return {key: known[digest] for key, digest in hashes.items() if digest in known}


def judge_pending(
    pending: dict[str, dict[str, Any]],
    known: dict[str, Verdict],
    cache: VerdictCache,
    config: JudgeConfig,
) -> dict[str, str]:
    """Judge `pending` (content hash -> request), adding verdicts to `known` and `cache`.

    Returns:
        Content hash -> reason for those that were given up.
    """

    def keep(digest: str, verdict: Verdict) -> None:
        cache.put(digest, verdict, config.model)
        known[digest] = verdict

    with tqdm(total=len(pending), desc="judging", unit="row", disable=not pending) as bar:
        judge = Judge(config, on_verdict=keep, on_done=bar.update)
        try:
            if pending:
                judge.run(pending)
        except JudgeStopped as error:
            bar.write(f"judging stopped: {error}", file=sys.stderr)
        except KeyboardInterrupt:
            bar.write("judging interrupted; what was judged is kept", file=sys.stderr)
    return judge.failures


def build_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """The command line of the release, plus the judge's address and the client's patience."""
    parser = argparse.ArgumentParser(
        prog=prog, description="Judge open-ended results with a language model.", allow_abbrev=False
    )
    add = parser.add_argument
    add("--pred_path", required=True, metavar="FILE", help="results.csv of an open-ended run")
    add("--output_dir", required=True, metavar="DIR", help="folder for the verdict of every row")
    add("--output_json", required=True, metavar="FILE", help="all verdicts, and their averages")
    add(
        "--judge_model",
        dest="model",
        metavar="NAME",
        help="model name sent to the server (default: %(default)s)",
    )
    add(
        "--base_url",
        metavar="URL",
        help="the server, http://localhost:8000/v1 say; if not given "
        "OPENAI_BASE_URL, then OpenAI itself",
    )
    add(
        "--api_key_file",
        type=Path,
        metavar="FILE",
        help="file with the key; if not given OPENAI_API_KEY; a local server needs none",
    )
    add("--api_key", action=_Refused, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    add(
        "--num_tasks",
        type=int,
        metavar="N",
        help="requests under way at once (default: %(default)s)",
    )
    add("--max_attempts", type=int, metavar="N", help="tries per row (default: %(default)s)")
    add(
        "--timeout_seconds",
        type=float,
        metavar="S",
        help="time limit per try (default: %(default)s)",
    )
    add(
        "--first_backoff_seconds",
        type=float,
        metavar="S",
        help="wait before the second try, doubled for every further one (default: %(default)s)",
    )
    add(
        "--max_backoff_seconds",
        type=float,
        metavar="S",
        help="longest wait between tries (default: %(default)s)",
    )
    add(
        "--stop_after_failures",
        type=int,
        metavar="N",
        help="rows given up in a row after which the judge counts as dead (default: %(default)s)",
    )
    defaults = asdict(JudgeConfig())
    del defaults["api_key"]
    parser.set_defaults(**defaults)
    return parser


class _Refused(argparse.Action):
    """The release's option for the key, which every user of the machine could read."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        parser.error(f"--api_key would show the key in the list of processes: {ADVICE}")


if __name__ == "__main__":
    sys.exit(main())
