"""Task names of the benchmarks, and which benchmark a results table belongs to."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from eval.files import read_json_object


@dataclass(frozen=True)
class Benchmark:
    """The tasks of a benchmark in the order of its report, and its task categories, if any."""

    title: str
    tasks: tuple[str, ...] = ()
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    long_names: Mapping[str, str] = field(default_factory=dict)
    """Task -> what the report adds in brackets."""
    balanced: Mapping[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    """Category -> a task that forgetting answers rightly, and tasks that look the same and have
    another answer. The category is the mean of the former and of the first of the latter that was
    asked, so that who always answers one way gets 50 %; without such a task it is not reported."""

    def label(self, task: str) -> str:
        """The task as the report prints it: `ACR (Action Recognition)`."""
        return f"{task} ({self.long_names[task]})" if task in self.long_names else task

    def ordered(self, names: Sequence[str]) -> list[str]:
        """Each of `names` once: the benchmark's order first, then unknown names by alphabet."""
        known = [task for task in self.tasks if task in names]
        return known + sorted(set(names) - set(known))

    def asked_categories(self, asked: Collection[str]) -> dict[str, tuple[str, ...]]:
        """Category -> its tasks among those `asked`; the category is the mean of their means."""
        found = {
            name: tuple(task for task in own if task in asked)
            for name, own in self.categories.items()
        }
        for name, (forgetful, look_alikes) in self.balanced.items():
            pair = (forgetful, next((task for task in look_alikes if task in asked), ""))
            found[name] = pair if set(pair) <= set(asked) else ()
        return {name: own for name, own in found.items() if own}

    def counts_in_all(self, task: str) -> bool:
        """Whether the task's questions are among "all": not if only a balanced category has it."""
        own = {name for name, tasks in self.categories.items() if task in tasks}
        return not own or not own <= set(self.balanced)


OVO_CATEGORIES = {
    "Real-Time Visual Perception": ("ACR", "ATR", "OJR", "STU", "OCR", "FPD"),
    "Backward Tracing": ("EPM", "HLD", "ASI"),
}
OVO = Benchmark(
    "OVOBench",
    sum(OVO_CATEGORIES.values(), ()),
    OVO_CATEGORIES,
    {
        "ACR": "Action Recognition",
        "ATR": "Attribute Recognition (AR)",
        "OJR": "Object Recognition (OR)",
        "STU": "Spatial Understanding (SU)",
        "FPD": "Future Prediction (FP)",
        "EPM": "Episodic Memory",
        "HLD": "Hallucination Detection",
        "ASI": "Action Sequence Inference",
    },
)
OVO_FORWARD = Benchmark(
    "OVOBench forward",
    ("REC", "SSR", "CRR"),
    {"Forward Active Responding": ("REC", "SSR", "CRR")},
    {
        "REC": "Repetition Event Count",
        "SSR": "Sequential Steps Recognition",
        "CRR": "Clues Reveal Responding",
    },
)
STREAMING = Benchmark(
    "StreamingBench",
    (
        "Action Recognition",
        "Attribute Recognition",
        "Object Recognition",
        "Spatial Understanding",
        "Event Understanding",
        "Text-Rich Understanding",
        "Counting",
        "Causal Reasoning",
        "Clips Summarize",
        "Prospective Reasoning",
    ),
)
NEVER_BALANCED = "unanswerable (balanced)"
NANOSTREAM_CATEGORIES = {
    "perception now": ("now_colour", "now_shape", "now_place", "now_count"),
    "recent past": (
        "recent_shape",
        "recent_colour",
        "recent_former_colour",
        "recent_former_place",
        "recent_change",
    ),
    "far past": ("far_first_shape", "far_first_colour", "far_colour", "far_ever"),
    "counting": ("count_colours",),
    "order": ("order_first",),
    NEVER_BALANCED: ("unanswerable", "answerable"),
}
NANOSTREAM = Benchmark(
    "NanoStream",
    sum(NANOSTREAM_CATEGORIES.values(), ()),
    NANOSTREAM_CATEGORIES,
    # "What colour was the ring?", offering "never" and three colours: edition 1 of NanoStream has
    # no task of its own for those that have an answer.
    balanced={NEVER_BALANCED: ("unanswerable", ("answerable", "far_colour"))},
)
GENERAL = Benchmark("General")
# Two of these are StreamingBench names too; knowing all twelve keeps the two benchmarks apart.
VIDEOMME_TASKS = frozenset(
    {
        "Action Reasoning",
        "Action Recognition",
        "Attribute Perception",
        "Counting Problem",
        "Information Synopsis",
        "OCR Problems",
        "Object Reasoning",
        "Object Recognition",
        "Spatial Perception",
        "Spatial Reasoning",
        "Temporal Perception",
        "Temporal Reasoning",
    }
)
BENCHMARKS = {
    "nanostream": NANOSTREAM,
    "nanostream_words": NANOSTREAM,
    "ovobench": OVO,
    "ovobench_forward": OVO_FORWARD,
    "streamingbench": STREAMING,
    "trace": GENERAL,
    "custom": GENERAL,
    "videomme": GENERAL,
    "mvbench": GENERAL,
    "egoschema": GENERAL,
    "egoschema_subset": GENERAL,
    "rvs_ego": GENERAL,
    "rvs_movie": GENERAL,
}


def dataset_beside(results_path: Path) -> str | None:
    """The dataset key that config.json beside the results names; None when there is none."""
    dataset = (read_json_object(results_path.parent / "config.json") or {}).get("dataset")
    return dataset if isinstance(dataset, str) else None


def find_benchmark(
    dataset: str | None, task_names: Sequence[str], has_durations: bool
) -> Benchmark:
    """The benchmark of a known `dataset` key, else the one to which most task names belong.

    Args:
        dataset: key from config.json, or None.
        task_names: the task of every row, "" for none.
        has_durations: the table has the `duration_category` column, which only VideoMME has.
    """
    if dataset in BENCHMARKS:
        return BENCHMARKS[dataset]
    if has_durations:
        return GENERAL
    for benchmark in (OVO, STREAMING):
        num_own = sum(name in benchmark.tasks for name in task_names)
        num_videomme = sum(name in VIDEOMME_TASKS for name in task_names)
        num_labelled = sum(name != "" for name in task_names)
        if 2 * num_own > num_labelled and num_own >= num_videomme:
            return benchmark
    return GENERAL
