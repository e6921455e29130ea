"""The page of the comparison, every figure on it from the results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from eval.multiple_choice.task_groups import ALL
from eval.multiple_choice.tasks import NEVER_BALANCED
from eval.ranking.verdict import ALPHA
from reproduction.degrees.costs import Measured
from reproduction.degrees.goals import goals, leads_on_best
from reproduction.degrees.plan import BASE_FPS, RATES_BUDGET
from reproduction.degrees.results import RANKED, Results, main_budget
from reproduction.degrees.tables import (
    TEXT,
    Rows,
    bytes_of,
    markdown,
    rows_of,
    shown,
    signed,
)

MOST_NAMES = 8
"""Of memories that cannot be told apart; the others are counted."""
SHORT = {
    "perception now": "now",
    "recent past": "recent",
    "far past": "far",
    NEVER_BALANCED: "never (balanced)",
    ALL: "all",
}


def page(results: Results, measured: Measured | None, ours: str, command: str) -> str:
    """Markdown; sections without results are left out."""
    accuracies = results.accuracies
    parts = [
        TEXT["head"].format(command=command, streams=_streams(accuracies)),
        *_verdict(accuracies),
        *_lead(results.differences, measured, ours),
        *_costs(measured, main_budget(accuracies)),
        *_tables(accuracies),
        *_other_rates(accuracies),
        *_settings(accuracies),
        TEXT["limits"],
    ]
    return "\n".join(parts)


def verdict_lines(results: Results, measured: Measured | None, ours: str) -> list[str]:
    """For the terminal: what `ours` is to reach, and how far it got."""
    return [
        f"{'reached    ' if goal.is_reached else 'NOT reached'}  {goal.text}: {goal.worst}"
        for goal in goals(results.differences, ours, measured)
    ]


def _streams(accuracies: pd.DataFrame) -> str:
    own = accuracies[accuracies["part"] == "memories"]
    found: dict[str, dict[str, int]] = {}
    for row in rows_of(own):
        counts = found.setdefault(row["length"], {})
        counts[row["degree"]] = max(row["num_videos"], counts.get(row["degree"], 0))
    return "; ".join(
        f"{length}: {', '.join(f'{count} {degree}' for degree, count in counts.items())}"
        for length, counts in found.items()
    )


def _verdict(accuracies: pd.DataFrame) -> Iterator[str]:
    own = accuracies[accuracies["part"] == "memories"]
    yield TEXT["verdict"].format(percent=100 * ALPHA)
    cases = dict.fromkeys(zip(own["length"], own["kv_size"], strict=True))
    main = (own["length"].iloc[0], main_budget(own))
    for length, kv_size in sorted(cases, key=lambda case: case != main):
        rows = own[(own["length"] == length) & (own["kv_size"] == kv_size)]
        yield f"**{length} the trained length, {kv_size} tokens per layer**\n"
        header = ("degree", "questions about", "best", "not told apart from it", "told apart")
        groups = rows.groupby(["degree", "group"], sort=False)
        yield markdown(header, [_best_of(part) for _, part in groups], left=4)


def _best_of(rows: pd.DataFrame) -> list[str]:
    degree, group = (str(rows[name].iloc[0]) for name in ("degree", "group"))
    ranked = rows[rows["beaten_p"].notna()].sort_values("accuracy_percent", ascending=False)
    best = ranked[ranked["is_best"]].iloc[0]
    others = ranked[ranked["may_be_best"] & ~ranked["is_best"]]["policy"].tolist()
    more = f" and {len(others) - MOST_NAMES} more" if len(others) > MOST_NAMES else ""
    names = ", ".join(others[:MOST_NAMES]) + more
    if best["num_videos"] < FEWEST_VIDEOS:
        names = f"{best['num_videos']} videos cannot tell any apart"
    count = len(ranked) - 1 - len(others)
    equals = int((best["accuracy_percent"] - ranked["accuracy_percent"] < 1e-6).sum()) - 1
    name = best["policy"] + (f" (and {equals} with the same)" if equals else "")
    return [
        degree,
        SHORT.get(group, group),
        f"{name} {shown(best)}",
        names or "none",
        f"{count}",
    ]


FEWEST_VIDEOS = next(count for count in range(1, 20) if 0.5**count < ALPHA)
"""With fewer no p-value is below 5 %."""


def _lead(differences: pd.DataFrame, measured: Measured | None, ours: str) -> Iterator[str]:
    if differences.empty:
        return
    yield TEXT["lead"].format(ours=ours)
    rows = [
        [
            f"{row['degree']}, {row['length']}, {row['sample_fps']:g} fps, {row['kv_size']}",
            row["other"],
            signed(row["difference_points"]),
            signed(row["lower_bound_points"]),
        ]
        for row in rows_of(leads_on_best(differences))
    ]
    header = ("degree, length, rate, tokens", "best other", "ours ahead by", "lower bound")
    yield markdown(header, rows)
    yield markdown(
        ("goal", "reached", "decided by"),
        [
            [goal.text, "yes" if goal.is_reached else "**no**", goal.worst]
            for goal in goals(differences, ours, measured)
        ],
        left=3,
    )


def _costs(measured: Measured | None, kv_size: int) -> Iterator[str]:
    if measured is None:
        return
    yield TEXT["costs"].format(
        machine=measured.machine,
        frames=measured.num_frames,
        questions=measured.num_questions,
        vision=1000 * measured.vision_seconds_per_frame,
    )
    names = "memory, budget, tokens kept, device, host, first token p50, p95, ingest per frame, "
    names += "layers per frame, compression p50, works when asked"
    rows = [
        [
            one.policy,
            f"{one.kv_size}",
            f"{one.tokens_per_layer:.0f}",
            bytes_of(one.memory_bytes),
            bytes_of(one.host_bytes),
            *(
                f"{1000 * value:.1f} ms"
                for value in (
                    one.first_token_p50_seconds,
                    one.first_token_p95_seconds,
                    one.ingest_seconds_per_frame,
                )
            ),
            f"{one.layers_per_frame}",
            f"{1000 * one.compression_p50_seconds:.1f} ms",
            "yes" if one.works_at_question_time else "no",
        ]
        for one in measured.costs.values()
        if one.kv_size == kv_size
    ]
    yield markdown(names.split(", "), rows)


def _tables(accuracies: pd.DataFrame) -> Iterator[str]:
    own = accuracies[accuracies["part"] == "memories"]
    first, kv_size = own["length"].iloc[0], main_budget(own)
    yield TEXT["tables"]
    for degree in dict.fromkeys(own["degree"]):
        rows = own[own["degree"] == degree]
        yield f"### {str(degree).capitalize()}\n"
        yield f"{first}, {kv_size} tokens:\n"
        yield _by_group(rows[(rows["length"] == first) & (rows["kv_size"] == kv_size)])
        yield "All questions, by length and budget:\n"
        everything = rows[rows["group"] == ALL]
        columns = everything["length"] + ", " + everything["kv_size"].astype(str)
        yield Rows.of(everything.assign(column=columns), "policy", "column").markdown()


def _by_group(rows: pd.DataFrame) -> str:
    columns = rows["group"].map(lambda name: SHORT.get(name, name))
    return Rows.of(rows.assign(column=columns), "policy", "column").markdown()


def _other_rates(accuracies: pd.DataFrame) -> Iterator[str]:
    rows = accuracies[accuracies["part"] == "rates"]
    if rows.empty:
        return
    yield TEXT["rates"]
    everything = accuracies[
        accuracies["part"].isin(RANKED)
        & (accuracies["kv_size"] == RATES_BUDGET)
        & (accuracies["length"] == rows["length"].iloc[0])
        & (accuracies["group"] == ALL)
        & accuracies["policy"].isin(rows["policy"])
    ].sort_values("sample_fps", kind="stable")
    columns = everything["degree"] + ", " + everything["sample_fps"].map("{:g} fps".format)
    yield Rows.of(everything.assign(column=columns), "policy", "column").markdown()


def _settings(accuracies: pd.DataFrame) -> Iterator[str]:
    for part, title in (("variants", "hermes"), ("trade", "two_speed")):
        own = accuracies[accuracies["part"] == part]
        if own.empty:
            continue
        yield TEXT[part].format(title=title, fps=f"{BASE_FPS:g}", kv_size=RATES_BUDGET)
        for (degree, length), rows in own.groupby(["degree", "length"], sort=False):
            yield f"{degree}, {length}:\n"
            yield _by_group(rows)


__all__: Sequence[str] = ("FEWEST_VIDEOS", "page", "verdict_lines")
