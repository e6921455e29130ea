"""The page with its tables and figures, written from what is finished."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from eval.whole_file import write_text
from reproduction.degrees.costs.measured import Measured
from reproduction.degrees.page import figures
from reproduction.degrees.page.dialogue import Numbers
from reproduction.degrees.page.page import page, verdict_lines
from reproduction.degrees.results import Results
from video_qa.comparison.robustness_table import JSON_FILE

PAGE_FILE, TABLES = "comparison.md", "comparison"


@dataclass(frozen=True)
class Report:
    """All that the page says; costs and what dialogue changes may be unknown."""

    results: Results
    measured: Measured | None
    robustness: Numbers | None
    ours: str

    def write(self, out: Path, docs: Path | None, command: str) -> int:
        """Write it to both folders; returns the exit code.

        Args:
            command: how the page was made, for its head.
        """
        accuracies = self.results.accuracies
        if accuracies.empty:
            print("error: no comparison is finished; nothing to report", file=sys.stderr)
            return 2
        if "memories" not in set(accuracies["part"]):
            print("Finished; no page without --parts memories, whose finished runs it only reads")
            return 0
        text = page(self.results, self.measured, self.robustness, self.ours, command)
        for folder in (out, *([docs] if docs else [])):
            write_text(folder / PAGE_FILE, text)
            self._write_beside(folder / TABLES)
        self.results.write_json(out / TABLES)
        print("\n".join(verdict_lines(self.results, self.measured, self.ours)))
        print(f"Page: {out / PAGE_FILE}")
        return 0

    def _write_beside(self, folder: Path) -> None:
        """Figures, and the numbers behind them."""
        accuracies = self.results.accuracies
        for name in ("all_questions", "far_against_recent"):
            write_text(folder / f"{name}.svg", getattr(figures, name)(accuracies, self.ours))
        self.results.write_csv(folder)
        if self.measured is not None:
            self.measured.write(folder)
        path = folder / JSON_FILE
        if self.robustness is not None:
            content = json.dumps(self.robustness, indent=1) + "\n"
            write_text(path, content)
        elif path.exists():
            path.unlink()
            print(f"Removed: {path}, which is of an earlier page")
