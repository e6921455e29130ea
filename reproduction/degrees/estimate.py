"""How long what is owed takes, from measured costs: a memory's ingest without the vision tower,
which is shared, times frames, and its answers times questions.

Costs are CPU time here: a session beside other work takes longer by the clock, which says nothing
about the run to come.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from reproduction.degrees.costs.measured import Costs, Measured
from reproduction.degrees.owed import Owed, OwedRun

START_SECONDS = 12
"""Loading the model, and writing the table."""


def seconds_of(owed: Owed, measured: Measured, jobs: int) -> float:
    """Wall-clock seconds on as many idle cores as processes; 0 where nothing is owed."""
    num_streams = len(owed.streams)
    if not num_streams:
        return 0.0
    frames = owed.comparison.world.length.seconds * owed.comparison.sample_fps
    seconds = num_streams * frames * measured.vision_seconds_per_frame
    seconds += sum(_seconds_of_run(run, frames, measured) for run in owed.runs)
    in_turn = -(-num_streams // jobs)  # streams of the process that has most of them
    return START_SECONDS + measured.cpu_share * seconds * in_turn / num_streams


def estimate_lines(everything: Sequence[Owed], measured: Measured, jobs: int) -> list[str]:
    """What would be run, and for how long."""
    lines, total = [], 0.0
    for number, owed in enumerate(everything, start=1):
        seconds = seconds_of(owed, measured, jobs)
        total += seconds
        size = f"{len(owed.streams)} streams, {len(owed.runs)} of {owed.comparison.num_runs} runs, "
        size += f"{sum(run.num_questions for run in owed.runs)} answers, {seconds / 60:.1f} min"
        lines.append(f"{number:3d}. {owed.comparison.title}: {size if seconds else 'finished'}")
    head = f"{len(everything)} comparisons, {total / 60:.0f} minutes in {jobs} processes"
    return [
        *lines,
        f"{head} that have a core each to themselves, writing the streams not counted;",
        f"by the CPU time of each memory, alone, on {measured.machine}, {measured.measured_at}",
    ]


def _seconds_of_run(run: OwedRun, frames: float, measured: Measured) -> float:
    costs = _costs(measured, run.policy, run.kv_size)
    ingest = costs.ingest_seconds_per_frame - measured.vision_seconds_per_frame
    watched = len(run.streams) * frames * max(0.0, ingest)
    return watched + run.num_questions * costs.answer_seconds


def _costs(measured: Measured, policy: str, kv_size: int) -> Costs:
    """Of that memory, else of its kind, else of the middle one."""
    name, everything = policy.split(":")[0], measured.costs
    known = [everything.get((policy, kv_size)), everything.get((name, kv_size))]
    known += [one for (other, _), one in everything.items() if other == name]
    found = next((one for one in known if one is not None), None)
    by_answer = sorted(everything.values(), key=lambda one: one.answer_seconds)
    return found or by_answer[int(median(range(len(by_answer))))]
