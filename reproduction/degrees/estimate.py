"""How long a plan takes, from measured costs: a memory's ingest without the vision tower, which is
shared, times frames, and its answers times questions."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from reproduction.degrees.costs import Costs, Measured
from reproduction.degrees.plan import Comparison

TASKS = 17
"""Of edition 2 of NanoStream; a stream has at most `questions_per_task` of each."""
START_SECONDS = 12
"""Loading the model, and writing the table."""


def seconds_of(comparison: Comparison, measured: Measured, jobs: int) -> float:
    """Wall-clock seconds on as many cores as processes."""
    length = comparison.world.length
    frames = length.seconds * comparison.sample_fps
    questions = TASKS * length.questions_per_task
    per_stream = frames * measured.vision_seconds_per_frame
    for policy in comparison.policies:
        for kv_size in comparison.budgets:
            costs = _costs(measured, policy, kv_size)
            ingest = costs.ingest_seconds_per_frame - measured.vision_seconds_per_frame
            per_stream += frames * max(0.0, ingest) + questions * costs.answer_seconds
    return START_SECONDS + comparison.num_streams * per_stream / min(jobs, comparison.num_streams)


def estimate_lines(comparisons: Sequence[Comparison], measured: Measured, jobs: int) -> list[str]:
    """What would be run, and for how long."""
    lines, total = [], 0.0
    for number, comparison in enumerate(comparisons, start=1):
        seconds = seconds_of(comparison, measured, jobs)
        total += seconds
        size = f"{comparison.num_streams} streams, {comparison.num_runs} runs"
        lines.append(f"{number:3d}. {comparison.title}: {size}, {seconds / 60:.1f} min")
    head = f"{len(comparisons)} comparisons, {total / 60:.0f} minutes in {jobs} processes"
    return [*lines, f"{head}, writing the streams not counted; measured on {measured.machine}"]


def _costs(measured: Measured, policy: str, kv_size: int) -> Costs:
    """Of that memory, else of its kind, else of the middle one."""
    name, everything = policy.split(":")[0], measured.costs
    known = [everything.get((policy, kv_size)), everything.get((name, kv_size))]
    known += [one for (other, _), one in everything.items() if other == name]
    found = next((one for one in known if one is not None), None)
    by_answer = sorted(everything.values(), key=lambda one: one.answer_seconds)
    return found or by_answer[int(median(range(len(by_answer))))]
