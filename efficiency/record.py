"""From samples to a record that can be written as JSON: quantiles, shares, ratios."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from efficiency.counts import Counts
from efficiency.lane import Lane
from efficiency.roofline import Ceilings, Work
from efficiency.work import StreamWork
from inference import AbstractHermes
from inference.answers.prompts import guidance_texts

OURS = "ours"


def path_record(
    lane: Lane, engine: AbstractHermes, vision: Work, ceilings: Ceilings, weight_bytes: int
) -> dict[str, Any]:
    """Everything about one path; times in seconds, memory in bytes."""
    steady_bytes = max((point["memory_bytes"] for point in lane.at.values()), default=0)
    counts = lane.counts or Counts({}, {})
    working = lane.working_bytes or max(counts.working_bytes.values(), default=0)
    layers = len(engine.language_model.layers)
    return {
        "stopped": lane.stopped,
        "steps": lane.step_seconds(),
        "at": {str(frames): point for frames, point in lane.at.items()},
        "operators": counts.operators,
        "operators_per_token_and_layer": counts.operators.get("token", 0) / layers,
        "memory": {
            "steady_bytes": steady_bytes,
            "working_bytes": working,
            "working_by": "allocator" if lane.working_bytes else "tensors held",
            "working_bytes_of_steps": counts.working_bytes,
            "peak_bytes": weight_bytes + steady_bytes + working,
        },
        "roofline": _shares(lane, engine, vision, ceilings) if lane.at else {},
    }


def _shares(
    lane: Lane, engine: AbstractHermes, vision: Work, ceilings: Ceilings
) -> dict[str, dict[str, Any]]:
    """Step -> how much of the time that it takes its arithmetic and traffic need at least."""
    work, chunks = StreamWork(engine), lane.steady
    new = lane.tokens_per_chunk
    texts = _guidance_lengths(engine)
    kept = engine.config.kv_size
    bounds = {
        "vision": [] if lane.path.seen else [vision for _ in chunks],
        "reading": [work.reading(new, chunk.num_before) for chunk in chunks],
        "scoring": [work.scoring(texts, chunk.num_before + new) for chunk in chunks],
        "compaction": [work.compaction(kept) for _ in chunks],
    }
    shares = {}
    for name, works in bounds.items():
        pairs = [
            (needed, chunk.seconds[name])
            for needed, chunk in zip(works, chunks, strict=False)
            if chunk.evicted or name in ("vision", "reading")
        ]
        shares[name] = _share(pairs, ceilings)
    last = list(lane.at.values())[-1]
    held = last["tokens_per_layer"]
    for name, found in last.items():
        if name.startswith("ttft_") and found:
            asked = work.question(int(name.removeprefix("ttft_")), held)
            shares[name] = _share([(asked, found["p50"])], ceilings)
    if last.get("tpot"):
        shares["tpot"] = _share([(work.token(held), last["tpot"]["p50"])], ceilings)
    return {name: share for name, share in shares.items() if share}


def _share(samples: list[tuple[Work, float]], ceilings: Ceilings) -> dict[str, Any] | None:
    found = [(*ceilings.bound_seconds(work), seconds) for work, seconds in samples if seconds > 0]
    if not found:
        return None
    return {
        "bound_seconds": statistics.median(bound for bound, _, _ in found),
        "ceiling": found[-1][1],
        "share": statistics.median(bound / seconds for bound, _, seconds in found),
    }


def _guidance_lengths(engine: AbstractHermes) -> dict[int, int]:
    texts = guidance_texts()
    wanted = {
        layer: name
        for layer in range(len(engine.language_model.layers))
        if (name := engine.policy.guidance(layer))
    }
    return {layer: len(engine.processor.encode(texts[name])) for layer, name in wanted.items()}


def ratios(lanes: Mapping[str, Lane]) -> dict[str, dict[str, Any]]:
    """Other path -> how many times as fast (or small) ours is, at each length that both reached."""
    if OURS not in lanes:
        return {}
    ours, found = lanes[OURS], {}
    for name, lane in lanes.items():
        if name != OURS:
            common = [frames for frames in ours.at if frames in lane.at]
            found[name] = {str(n): _faster(ours.at[n], lane.at[n]) for n in common}
    return found


def _faster(ours: dict[str, Any], other: dict[str, Any]) -> dict[str, float]:
    answers = [name for name in ours if name.startswith("ttft_") or name == "tpot"]
    return {
        "frames_per_second": ours["frames_per_second"] / other["frames_per_second"],
        **{name: other[name]["p50"] / ours[name]["p50"] for name in answers if other.get(name)},
    }


def free_ceiling(release: Lane) -> float | None:
    """How many times as fast as the release anything could watch that is free of scoring,
    compaction and logits nobody looks at; None if they were not measured apart."""
    if not release.parts:
        return None
    needless = sum(release.median(name) for name in ("logits", "scoring", "compaction"))
    needed = sum(release.median(name) for name in ("vision", "reading"))
    return (needed + needless) / needed
