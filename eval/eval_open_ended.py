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
from pathlib import Path
from typing import Any

from tqdm import tqdm

if __name__ == "__main__":  # run as a script, sys.path starts with eval/ instead of its parent
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from eval.files import merge_metrics, write_json
from eval.judge import Judge, JudgeConfig, JudgeStopped
from eval.judge_prompt import content_hash, judge_request
from eval.open_ended import OpenEnded, write_row_files
from eval.results_table import ResultsError, locate_results
from eval.summary import Summary, closing_lines
from eval.verdicts import Verdict, VerdictCache


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; `argv` excludes the program name.

    Returns:
        0 all rows judged, 1 some rows not judged, 2 bad input or nowhere to write.
    """
    parser = build_parser()
    args = vars(parser.parse_args(argv))
    path = locate_results(Path(args.pop("pred_path")))
    output_dir, output_json = Path(args.pop("output_dir")), Path(args.pop("output_json"))
    try:
        config = JudgeConfig(**args)
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


def publish(
    results: OpenEnded,
    verdicts: Mapping[str, Verdict],
    unjudged: Mapping[str, str],
    output_json: Path,
    judge_model: str,
) -> None:
    """Write the output JSON and the `open_ended` section of metrics.json, and print the report."""
    summary = Summary.over(results.rows, verdicts)
    pairs = {row.key: row.pair(verdicts[row.key]) for row in results.rows if row.key in verdicts}
    write_json(output_json, {**pairs, **summary.released_fields()})
    metrics = {
        "judge_model": judge_model,
        "results_file": results.path.name,
        "clustered_by": results.clustered_by,
        "num_error_rows": results.num_error_rows,
        **summary.metrics(len(results.rows)),
        "unjudged_rows": dict(unjudged),
    }
    metrics_path = merge_metrics(results.path.parent, "open_ended", metrics)
    print(f"Judged rows: {len(verdicts)} of {len(results.rows)}")
    print("\n".join([*summary.lines(), *closing_lines(results.num_error_rows, unjudged)]))
    print(f"Verdicts saved to: {output_json}\nMetrics saved to: {metrics_path}")


def build_parser() -> argparse.ArgumentParser:
    """The command line of the release, plus the judge's address and the client's patience."""
    parser = argparse.ArgumentParser(
        description="Judge open-ended results with a language model.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add, default = parser.add_argument, JudgeConfig()
    add("--pred_path", required=True, help="results.csv of an open-ended run")
    add("--output_dir", required=True, help="folder for the verdict of every row")
    add("--output_json", required=True, help="file for all verdicts, average_score and accuracy")
    add("--num_tasks", type=int, default=default.num_tasks, help="requests under way at once")
    add("--judge_model", dest="model", default=default.model, help="model name sent to the server")
    add(
        "--base_url",
        help="address of the server, http://localhost:8000/v1 say; unset: OPENAI_BASE_URL",
    )
    add("--api_key", help="key; unset: OPENAI_API_KEY; not needed with a local --base_url")
    add("--max_attempts", type=int, default=default.max_attempts, help="tries per row")
    add("--timeout_seconds", type=float, default=default.timeout_seconds, help="limit per try")
    add(
        "--first_backoff_seconds",
        type=float,
        default=default.first_backoff_seconds,
        help="wait before the second try; doubles with every further try",
    )
    add(
        "--max_backoff_seconds",
        type=float,
        default=default.max_backoff_seconds,
        help="longest wait",
    )
    add(
        "--stop_after_failures",
        type=int,
        default=default.stop_after_failures,
        help="rows given up in a row after which the judge counts as dead",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
