"""Markdown tables of the page, and its texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd

TEXT = {
    "head": """# Memories compared on NanoStream

Written by a script from results; no figure is typed.

    {command}

All memories of the registry on one engine, one model and one protocol: hermes-nano (1.9 M
parameters, trained on at most 64 frames of 4 tokens), multiple choice, edition 2 of the
questions, test split, fp32 on the CPU, one frame per second unless said otherwise. 4x are
streams of 256 s, 16x of 1,024 s, four and sixteen times what the model was trained on. Budgets
are visual tokens per layer: 128, 64 and 32 are the last 32, 16 and 8 seconds. The four degrees
of the world (clean, noisy, busy, rich) are those of `video_qa/nanostream/degrees.py`.

Streams: {streams}. Files that pandas reads: `comparison/accuracies.csv`,
`comparison/differences.csv`, `comparison/costs.json`. Intervals are 95 %, clustered by video
(`eval/intervals.py`). One training seed.

![accuracy over all questions against the budget](comparison/all_questions.svg)
""",
    "verdict": """## Verdict

Who answers most questions right, and who cannot be told apart from that memory: all that no
other memory beats in a sign-flip test over videos, with the maximum over all memories as its
statistic, which corrects for how many there are and for picking the best by looking
({percent:g} %, one-sided; `eval/ranking/best.py`). "Told apart" counts those that are beaten.
The floors (black frames, the last frame alone) are not ranked. "never (balanced)" is the mean
of questions about what never was and look-alikes that have an answer; it is not part of "all".
""",
    "lead": """## {ours} against the best other memory

Points over all questions, and a lower bound that holds for all other memories at once (95 %;
`eval/ranking/lower_bounds.py`): a bound above 0 means ahead of every other memory.
""",
    "costs": """## What each memory costs

Measured alone on one stream ({machine}, one process, median of three rounds; {frames} frames,
{questions} questions, chunks end where a question is due). Ingest is a frame's way through the
vision tower ({vision:.1f} ms of it; the comparisons themselves encode each frame once for all
memories), the layers of the decoder that it passes then, and compression. Device bytes are what
is allocated, with room for a chunk and for a question. "Works when asked": reads frames or
searches before it answers.
""",
    "tables": """## By degree

Accuracy in %, 95 % interval; bold: the best, and all that cannot be told apart from it.

![far past against recent past](comparison/far_against_recent.svg)
""",
    "rates": """## Other sampling rates

All questions at a quarter of the trained length's tokens. At 0.5 frames per second a question
about the present may come a second after the frame seen last.
""",
    "variants": """## Settings of {title}: both profiles, lazy and eager

{kv_size} tokens, {fps} fps. `none` keeps everything, at positions the model has never seen.
""",
    "trade": """## Settings of {title}: recent against far past

{kv_size} tokens, {fps} fps. `recent_share` is 0.25 by default; the row with `attention_weight=1` is
what the policy was planned to be, the past by guidance attention with floors.
""",
    "limits": """## What it does not say

* A miniature is no substitute for StreamingBench or OVO-Bench. Its frames have four tokens, a
  7B model's 196; what needs whole frames costs less here than there.
* `streaming_llm` keeps its first four visual tokens, which here are the whole first frame; two
  of the four far-past tasks ask what appeared first.
* `two_speed` was tuned on the training split of this world, the others have their papers'
  constants.
* Times are those of a small model on a CPU: for their order only.

The same on StreamingBench and OVO-Bench, which nobody has run for these tables
(`docs/reproducing.md`):

    python scripts/reproduce.py --table memories --dry_run
""",
}


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Row by row."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


class Rows(NamedTuple):
    """Rows by name, accuracies by column; `strong` are the (row, column) to stress."""

    header: list[str]
    cells: list[list[str]]

    @classmethod
    def of(cls, table: pd.DataFrame, row: str, column: str) -> Rows:
        """A row per value of `row`, in order of appearance, best mean first."""
        columns = list(dict.fromkeys(table[column]))
        found = {(one[row], one[column]): one for one in rows_of(table)}
        means = table.groupby(row, sort=False)["accuracy_percent"].mean()
        names = list(means.sort_values(ascending=False, kind="stable").index)
        cells = [[name, *(_cell(found.get((name, one))) for one in columns)] for name in names]
        return cls([row, *columns], cells)

    def markdown(self) -> str:
        """The table."""
        return markdown(self.header, self.cells)


def _cell(found: Any) -> str:
    if found is None:
        return "–"
    return f"**{shown(found)}**" if found["may_be_best"] else shown(found)


def shown(row: Any) -> str:
    """`93.8 (91–96)`"""
    bounds = (row["low_percent"], row["high_percent"])
    interval = "" if any(map(pd.isna, bounds)) else " ({:.0f}–{:.0f})".format(*bounds)
    return f"{row['accuracy_percent']:.1f}{interval}"


def signed(points: Any) -> str:
    """`+1.2`, or a dash for nothing."""
    return "–" if pd.isna(points) else f"{points:+.1f}"


def bytes_of(count: int) -> str:
    """In MiB, where there are any."""
    return "0" if not count else f"{count / 2**20:.1f} MiB"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """The first `left` columns to the left, the others to the right."""
    marks = ["---"] * left + ["--:"] * (len(header) - left)
    return "".join(f"| {' | '.join(line)} |\n" for line in (header, marks, *rows))
