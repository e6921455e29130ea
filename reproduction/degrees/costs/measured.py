"""What was measured of every memory in one session, and the file it lies in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eval.whole_file import write_text

COSTS_FILE = "costs.json"
QUIET_CPU_SHARE = 0.9
Run = tuple[str, int]
"""A policy at a budget of visual tokens per layer."""


class CostsError(ValueError):
    """A file of costs cannot be used; the message says what to do."""


@dataclass(frozen=True)
class Costs:
    """Of one memory at one budget. Bytes are those allocated, room for a chunk and a question
    among them; tokens are picture tokens at the end of the stream, mean over layers. Times are
    medians over the rounds of a session, and those of the rounds where they are shown."""

    policy: str
    kv_size: int
    ingest_seconds_per_frame: float
    answer_seconds: float
    first_token_p50_seconds: float
    first_token_p95_seconds: float
    compression_p50_seconds: float
    tokens_per_layer: float
    memory_bytes: int
    host_bytes: int
    layers_per_frame: int
    """Of the language model, when a frame is watched."""
    works_at_question_time: bool
    first_token_by_round_seconds: tuple[float, ...]
    """The median over questions, round by round."""
    compression_by_round_seconds: tuple[float, ...]


@dataclass(frozen=True)
class Measured:
    """One session: all memories measured in turns on one machine, round by round."""

    machine: str
    measured_at: str
    """When the session began, ISO 8601 in UTC."""
    num_rounds: int
    cpu_share: float
    """CPU seconds per second of the session, on one thread: below 1 other work had the core."""
    num_frames: int
    num_questions: int
    vision_seconds_per_frame: float
    refused: tuple[Run, ...]
    """Those that cannot serve the model."""
    costs: Mapping[Run, Costs]

    @property
    def is_quiet(self) -> bool:
        """Whether other work left the session alone; where not, medians may scatter severalfold,
        and only the fastest rounds of two memories can be compared."""
        return self.cpu_share >= QUIET_CPU_SHARE

    def covers(self, runs: Sequence[Run]) -> bool:
        """Whether all of them were measured, or found unable to serve the model."""
        return set(runs) <= {*self.costs, *self.refused}

    def write(self, folder: Path) -> None:
        """Store it. Raises OSError."""
        content = asdict(self) | {"costs": [asdict(one) for one in self.costs.values()]}
        write_text(folder / COSTS_FILE, json.dumps(content, indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Measured:
        """The inverse.

        Raises:
            CostsError: the file has another shape, as one of several sessions had.
            OSError: it cannot be read.
        """
        try:
            stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            costs = [_costs(one) for one in stored.pop("costs")]
            refused = tuple((policy, kv_size) for policy, kv_size in stored.pop("refused"))
            return cls(**stored, refused=refused, costs={_run(one): one for one in costs})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise CostsError(
                f"{path} is not of one session ({error}); measure again: --measure_costs"
            ) from error


def _costs(stored: Mapping[str, Any]) -> Costs:
    """Lists of JSON are tuples here."""
    found: dict[str, Any] = {
        name: tuple(one) if isinstance(one, list) else one for name, one in stored.items()
    }
    return Costs(**found)


def _run(costs: Costs) -> Run:
    return costs.policy, costs.kv_size
