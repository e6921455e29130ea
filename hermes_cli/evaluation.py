"""`hermes eval`: both evaluators under one name."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

JUDGE = "open_ended"


def main(argv: Sequence[str], prog: str = "hermes eval") -> int:
    """Hand over to the judge or to the evaluator that is named first; returns the exit code."""
    if argv[:1] == [JUDGE]:
        judge = import_module("eval.eval_open_ended")
        return judge.main(argv[1:], prog=f"{prog} {JUDGE}")
    choice = import_module("eval.eval_multiple_choice")
    other = f"and {JUDGE}: judge open answers with a language model ('{prog} {JUDGE} --help')"
    return choice.main(argv, prog=prog, epilog=other)
