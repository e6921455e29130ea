"""The command line, and the plan it amounts to."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hermes.policy_text import POLICY_NAMES, read_policy
from reproduction.degrees.plan import (
    BUDGETS,
    LENGTHS,
    MEMORIES,
    OTHER_RATES,
    PARTS,
    RATES_BUDGET,
    Plan,
)
from video_qa.comparison.arguments import names_of
from video_qa.nanostream.degrees import DEGREES


def parser(description: str) -> argparse.ArgumentParser:
    """All arguments of `scripts/compare_degrees.py`."""
    built = argparse.ArgumentParser(
        prog="compare_degrees.py",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = built.add_argument
    add(
        "--degrees",
        type=_among(tuple(DEGREES)),
        default=tuple(DEGREES),
        help=_listed(tuple(DEGREES)),
    )
    for length in LENGTHS:
        what = f"streams of {length.seconds} s to watch per degree, the first of "
        what += f"{length.num_streams}; 0: none (default: all)"
        add(f"--streams_{length.name}", type=_count(length.num_streams), help=what)
    add("--policies", type=_policies, default=MEMORIES, help="default: all of the registry")
    add("--budgets", type=_numbers(int), default=BUDGETS, help=_listed(BUDGETS))
    rates = f"other rates, watched by six memories and --ours at {RATES_BUDGET} tokens; '': none; "
    add("--rates", type=_numbers(float), default=OTHER_RATES, help=rates + _listed(OTHER_RATES))
    parts = "memories: all at all budgets; rates: at other rates; variants, trade: settings of "
    add("--parts", type=_among(PARTS), default=PARTS, help=f"{parts}hermes and of our memories")
    questions = "questions of each task per stream (default: 5 and 8); other streams, other folders"
    add("--questions_per_task", type=_positive, help=questions)
    add("--jobs", type=_positive, default=2, help="worker processes (default: %(default)s)")
    add(
        "--ours",
        type=_policy,
        default="two_speed",
        help="memory of the goals (default: %(default)s)",
    )
    kin = "memories that are not among the best others, beside settings of --ours"
    add("--kin", type=_policies, default=(), help=kin)
    add("--data", type=Path, default=Path("data/degrees"), help="default: %(default)s")
    add("--out", type=Path, default=Path("results/degrees"), help="default: %(default)s")
    add("--docs", type=Path, help="also write page, tables and figures here, e.g. docs")
    changed = "robustness.json of video_qa/robustness.py: the page then says what dialogue changes"
    add("--robustness", type=Path, help=changed)
    again = "measure what memories cost anew, though it is known; with --only_report nothing else"
    add("--measure_costs", action="store_true", help=again)
    add("--only_streams", action="store_true", help="write the streams, which need no model; stop")
    add("--dry_run", action="store_true", help="print what would run, and for how long")
    add("--only_report", action="store_true", help="run nothing; report what is finished")
    return built


def plan_of(arguments: argparse.Namespace) -> Plan:
    """What was asked for."""
    count = arguments.questions_per_task
    asked = {} if count is None else {"questions_per_task": count}
    given = {length.name: getattr(arguments, f"streams_{length.name}") for length in LENGTHS}
    return Plan(
        degrees=tuple(arguments.degrees),
        lengths=tuple(replace(length, **asked) for length in LENGTHS),
        num_streams={name: count for name, count in given.items() if count is not None},
        policies=tuple(arguments.policies),
        budgets=tuple(arguments.budgets),
        rates=tuple(arguments.rates),
        parts=tuple(arguments.parts),
        ours=arguments.ours,
    )


def _listed(values: Sequence[Any]) -> str:
    return f"default: {','.join(map(str, values))}"


def _policies(text: str) -> list[str]:
    if not (names := names_of(text)):
        raise argparse.ArgumentTypeError("expected names with commas between them")
    return [_policy(name) for name in names]


def _policy(text: str) -> str:
    """Also where nothing is run that would find it unknown."""
    try:
        name = read_policy(text)[0]
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if name not in POLICY_NAMES:
        known = ", ".join(POLICY_NAMES)
        raise argparse.ArgumentTypeError(f"unknown policy '{name}': expected one of {known}")
    return text


def _among(known: Sequence[str]) -> Callable[[str], list[str]]:
    def read(text: str) -> list[str]:
        names = names_of(text)
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(
                f"unknown: {', '.join(unknown)}; known: {', '.join(known)}"
            )
        return names

    return read


def _numbers(kind: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    def read(text: str) -> list[Any]:
        try:
            return [kind(part) for part in text.split(",") if part.strip()]
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"expected numbers with commas between them, got '{text}'"
            ) from None

    return read


def _positive(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got '{text}'")
    return int(text)


def _count(most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdigit() or int(text) > most:
            raise argparse.ArgumentTypeError(f"expected a number from 0 to {most}, got '{text}'")
        return int(text)

    return read
