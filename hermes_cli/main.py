"""Subcommands of `hermes`; each hands over to a command line that also stands alone.

Nothing here imports torch or a model library, so that help comes at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from textwrap import fill

from hermes import __version__
from hermes.config import PROFILES
from hermes.imports import require_ours
from hermes.policy_text import POLICY_NAMES

HELP = ("-h", "--help")


@dataclass(frozen=True)
class Command:
    """A subcommand."""

    module: str
    """Where its `main(argv, prog)` is."""
    summary: str


COMMANDS = {
    "run": Command("video_qa.run_infer", "run a benchmark and evaluate it"),
    "prepare": Command("video_qa.preparation.command", "official files of a data set to data/"),
    "compare": Command("video_qa.compare", "compare memory policies on a benchmark"),
    "robustness": Command("video_qa.robustness", "what other questions do to answers"),
    "inspect": Command("video_qa.inspect_memory", "see what a memory still holds of a video"),
    "eval": Command("hermes_cli.evaluation", "evaluate results that exist"),
    "demo": Command("hermes_cli.demo", "write videos, run two memories on them, show tables"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    if not given or given[0] in HELP:
        print(_help())
        return 0 if given else 2
    name, *rest = given
    if name == "--version":
        print(f"hermes {__version__}")
        return 0
    if name not in COMMANDS:
        print(
            f"error: unknown command '{name}'; expected one of {', '.join(COMMANDS)}",
            file=sys.stderr,
        )
        return 2
    require_ours("inference", "video", "video_qa", "eval")
    run: Callable[..., int] = import_module(COMMANDS[name].module).main
    return run(rest, prog=f"hermes {name}")


def _help() -> str:
    """What there is: commands, and the names that their options take."""
    from inference.checkpoints.models import MODELS
    from video_qa.questions.benchmarks import DATASETS

    lines = ["usage: hermes {" + ",".join(COMMANDS) + "} ...", "       hermes --version", ""]
    lines += ["Memory for video language models that watch live streams.", "", "commands:"]
    lines += [f"  {name:11}{command.summary}" for name, command in COMMANDS.items()]
    lines += ["", "'hermes COMMAND --help' explains the options.", ""]
    names: Mapping[str, Sequence[str]] = {
        "models": tuple(MODELS),
        "policies": POLICY_NAMES,
        "profiles": tuple(PROFILES),
        "data sets": tuple(DATASETS),
    }
    return "\n".join(lines + [_listed(what, found) for what, found in names.items()])


def _listed(what: str, names: Sequence[str]) -> str:
    return fill(", ".join(names), 98, initial_indent=f"{what + ':':11}", subsequent_indent=" " * 11)
