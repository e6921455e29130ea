"""The benchmark runs behind a table, as command lines of `video_qa/run_infer.py`."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hermes.policy_text import read_policy
from reproduction.columns import metric_of
from reproduction.published import PublishedRow, PublishedTable
from video_qa.questions.benchmarks import DATASETS
from video_qa.runner.run_arguments import parser, results_folder

SAMPLE_FPS = {"llava_ov": 0.5, "qwen2.5_vl": 1.0, "qwen3_vl": 2.0, "nano": 1.0}
"""Beginning of a model key -> frames per second in the paper's main table. For Qwen2.5-VL an
earlier version's appendix said 0.5."""


@dataclass(frozen=True)
class Run:
    """One benchmark run."""

    model: str
    dataset: str
    kv_size: int
    policy: str = "hermes"
    chunk_frames: int = 16

    @property
    def sample_fps(self) -> float:
        """As in the paper."""
        return next(fps for start, fps in SAMPLE_FPS.items() if self.model.startswith(start))

    @property
    def reindex(self) -> str:
        """Lazy for streams, eager for offline benchmarks, unless the policy's text decides."""
        usual = "lazy" if DATASETS[self.dataset].streaming else "eager"
        return str(read_policy(self.policy)[1].get("reindex", usual))

    @property
    def profile(self) -> str:
        """Constants of the release unless the policy's text names others."""
        return str(read_policy(self.policy)[1].get("profile", "released"))

    def argv(self, shared: Sequence[str] = ()) -> list[str]:
        """Arguments of the runner; those in `shared` come after the run's own."""
        own = [f"--model={self.model}", f"--dataset={self.dataset}"]
        own += [f"--sample_fps={self.sample_fps:g}", f"--kv_size={self.kv_size}"]
        if self.policy != "hermes":
            own.append(f"--policy={self.policy}")
        if self.chunk_frames != 16:  # which the folder's name does not tell
            own.append(f"--chunk_frames={self.chunk_frames}")
            own.append(f"--save_dir={self._folder_of_its_own(own, shared)}")
        return [*own, *shared]

    def command(self, shared: Sequence[str] = ()) -> str:
        """What to type."""
        return f"python video_qa/run_infer.py {shlex.join(self.argv(shared))}"

    def folder(self, shared: Sequence[str] = ()) -> Path:
        """Where the results lie."""
        return results_folder(parsed(self.argv(shared)))

    def _folder_of_its_own(self, own: Sequence[str], shared: Sequence[str]) -> Path:
        usual = results_folder(parsed([*own, *shared]))
        return usual.with_name(f"{usual.name}-chunk{self.chunk_frames}")


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    """The runner's arguments."""
    return parser("", "run_infer.py").parse_args(argv)


def run_of(row: PublishedRow, dataset: str) -> Run | None:
    """The run that gives a row's numbers on a data set; None for methods that are not ours."""
    if row.model is None or row.policy is None or row.kv_size is None:
        return None
    return Run(row.model, dataset, row.kv_size, row.policy, row.chunk_frames)


def runs_of(table: PublishedTable, rows: Iterable[PublishedRow]) -> list[Run]:
    """All runs that a table needs, each once."""
    datasets = dict.fromkeys(
        metric.dataset for column in table.columns if (metric := metric_of(table.name, column))
    )
    found = (run_of(row, dataset) for row in rows for dataset in datasets)
    return list(dict.fromkeys(run for run in found if run is not None))
