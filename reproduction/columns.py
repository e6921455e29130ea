"""Which number of which report stands behind a column of a table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """A place in the metrics.json of a run."""

    dataset: str
    section: str
    path: tuple[str, ...] = ()
    """Keys below the section, to an object with `accuracy_percent` or to a number."""


def _task(dataset: str, name: str) -> Metric:
    return Metric(dataset, "general", ("tasks", name))


SERVER_ONLY = "answers are withheld: upload submission.csv to the benchmark's server"
_STREAMING_TASKS = {
    "OP": "Object Recognition",
    "CR": "Causal Reasoning",
    "CS": "Clips Summarize",
    "ATP": "Attribute Recognition",
    "EU": "Event Understanding",
    "TR": "Text-Rich Understanding",
    "PR": "Prospective Reasoning",
    "SU": "Spatial Understanding",
    "ACP": "Action Recognition",
    "CT": "Counting",
}
_OVO_TASKS = ("OCR", "ACR", "ATR", "STU", "FPD", "OJR", "EPM", "ASI", "HLD")
_STREAMING = Metric("streamingbench", "general")
_OVO = {
    "RT": Metric("ovobench", "general", ("categories", "Real-Time Visual Perception")),
    "BW": Metric("ovobench", "general", ("categories", "Backward Tracing")),
    "avg": Metric("ovobench", "general", ("ovo_average_of_tracks",)),
}
_SHARED = {
    "SB-RT": _STREAMING,
    **{f"OVO {name}": metric for name, metric in _OVO.items()},
    "MVBench": Metric("mvbench", "general"),
    "EgoSchema": Metric("egoschema", "egoschema"),
    **{
        f"VideoMME {name}": Metric("videomme", "videomme", ("durations", name))
        for name in ("short", "medium", "long")
    },
    "VideoMME avg": Metric("videomme", "videomme"),
    "Ego accuracy": Metric("rvs_ego", "open_ended"),
    "Ego score": Metric("rvs_ego", "open_ended", ("mean_score_truncated",)),
    "Movie accuracy": Metric("rvs_movie", "open_ended"),
    "Movie score": Metric("rvs_movie", "open_ended", ("mean_score_truncated",)),
}
_OWN = {
    "streaming": {
        **{name: _task("streamingbench", task) for name, task in _STREAMING_TASKS.items()},
        "avg": _STREAMING,
    },
    "ovo": {**{name: _task("ovobench", name) for name in _OVO_TASKS}, **_OVO},
    "nano": {
        **{
            name: Metric("nanostream", "general", ("categories", category))
            for name, category in {
                "now": "perception now",
                "recent": "recent past",
                "far": "far past",
                "count": "counting",
                "order": "order",
                "never": "unanswerable (balanced)",
            }.items()
        },
        "all": Metric("nanostream", "general", ("all_but_balanced",)),
    },
}
NOT_FROM_A_RUN = ("efficiency", "ttft")
"""Tables of costs: measured by `reproduction.efficiency`, or by others."""


def metric_of(table: str, column: str) -> Metric | None:
    """Where a column's number comes from; None for one that no benchmark run gives."""
    if table in NOT_FROM_A_RUN:
        return None
    return _OWN.get(table, _SHARED)[column]
