"""Try many settings of memories on training streams, and compare each with other memories.

    python -m video_qa.nanostream --out data/tune/clean --split train --seed 7 --num_streams 20 \
        --min_minutes 4.2667 --max_minutes 4.2667 --fps 1 --video_format npy --questions_per_task 5
    python scripts/tune_memory.py run --data data/tune/clean --kv_sizes 64 \
        --policies two_speed,hermes,recent,two_speed:recent_share=0.5
    python scripts/tune_memory.py table --data data/tune/* --kv_sizes 64 --against two_speed

Every stream is encoded once for all settings of a call. What a setting has watched it never
watches again: answers lie in DATA/tuned.jsonl, one line per setting, budget and stream, so a killed
run goes on and a new setting costs its own time only. Its name is all that tells a setting from
others: delete its lines after a change of the code behind it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import pandas as pd
from tqdm import tqdm

from eval.multiple_choice.task_groups import group_difference, group_mean, task_groups
from eval.multiple_choice.tasks import NANOSTREAM
from video_qa.lanes.lanes import Lane, SharedWatch
from video_qa.questions.annotation_file import load_annotations
from video_qa.questions.annotations import MULTIPLE_CHOICE, Video
from video_qa.settings.model_registry import load_engine
from video_qa.settings.policy_spec import named_fields
from video_qa.settings.run_settings import RunSettings

ANSWERS = "tuned.jsonl"
ANNOTATIONS = "nanostream_train.json"


class Setting(NamedTuple):
    """What a lane is told."""

    policy: str
    kv_size: int
    sample_fps: float


def main(argv: Sequence[str] | None = None) -> int:
    """Command line."""
    options = _parser().parse_args(argv)
    settings = [
        Setting(policy, kv_size, options.sample_fps)
        for kv_size in options.kv_sizes
        for policy in options.policies
    ]
    if options.what == "run":
        for folder in options.data:
            run(folder, settings, options.model, options.num_streams)
    else:
        print(table(options.data, settings, options.against))
    return 0


def run(folder: Path, settings: Sequence[Setting], model: str, num_streams: int | None) -> None:
    """Watch what is owed, stream by stream, and store each stream when it is done."""
    encoder, lanes = None, {}
    for video in tqdm(_videos(folder)[:num_streams], desc=folder.name, unit="stream"):
        owing = [setting for setting in settings if (setting, video.index) not in stored(folder)]
        if not owing:
            continue
        if encoder is None:
            plain = _run_settings(settings[0], model, "recent")
            encoder = load_engine(plain, "cpu")
        for setting in owing:
            if setting not in lanes:
                wanted = _run_settings(setting, model, setting.policy)
                lanes[setting] = Lane(encoder.new_stream(**named_fields(wanted)), wanted, "")
        found = _watch(encoder, {setting: lanes[setting] for setting in owing}, video)
        with (folder / ANSWERS).open("a", encoding="utf-8") as file:
            for setting, right in found.items():
                line = {**setting._asdict(), "video": video.index, "right": right}
                file.write("\n" + json.dumps(line))  # also after a line that was cut off


def _watch(encoder: Any, lanes: Mapping[Setting, Lane], video: Video) -> dict[Setting, list[bool]]:
    shared = SharedWatch(encoder, next(iter(lanes.values())).settings)
    names = {lane: setting for setting, lane in lanes.items()}
    right: dict[Setting, list[bool]] = {setting: [] for setting in lanes}
    for lane, prediction in shared.analyze(video, {lane: {} for lane in lanes.values()}):
        if prediction.error is not None:
            raise RuntimeError(f"{names[lane]}: {prediction.error}")
        right[names[lane]].append(bool(prediction.correct))
    return right


def stored(folder: Path) -> dict[tuple[Setting, int], list[bool]]:
    """Setting and stream -> which answers were right; a line cut off by a kill is left out."""
    found = {}
    path = folder / ANSWERS
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        setting = Setting(entry["policy"], entry["kv_size"], entry["sample_fps"])
        found[setting, entry["video"]] = entry["right"]
    return found


def table(folders: Sequence[Path], settings: Sequence[Setting], against: str) -> str:
    """Accuracies in % by group, and in brackets paired differences (95 %) from another memory."""
    rows = {setting: _rows(folders, setting) for setting in settings}
    lines = []
    for setting, own in rows.items():
        if own.empty:
            continue
        base = _rows(folders, setting._replace(policy=against))
        cells = [f"{setting.policy:<60} {setting.kv_size:>4} {own['video'].nunique():>3}"]
        cells += list(_cells(own, base))
        lines.append(" | ".join(cells))
    return "\n".join(lines)


def _cells(own: pd.DataFrame, base: pd.DataFrame) -> Iterator[str]:
    pairs = own.merge(base[["video", "number", "right"]], on=["video", "number"], how="inner",
                      suffixes=("", "_baseline"))  # fmt: skip
    for name, group in task_groups(NANOSTREAM, own["task"]).items():
        mean = group_mean(own, group, "video")
        found = group_difference(pairs, group, "video") if len(pairs) else None
        difference = "" if found is None else f" {100 * found.mean:+.1f}"
        if found is not None and found.low is not None and found.high is not None:
            difference += f" ({100 * found.low:+.1f}..{100 * found.high:+.1f})"
        accuracy = "" if mean is None else f"{100 * mean.mean:.1f}"
        yield f"{name.split()[0][:6]} {accuracy}{difference}"


def _rows(folders: Sequence[Path], setting: Setting) -> pd.DataFrame:
    """One row per question of the streams that this setting has watched."""
    rows = []
    for folder in folders:
        answers, videos = stored(folder), _videos(folder)
        for video in videos:
            for number, right in enumerate(answers.get((setting, video.index), ())):
                question = video.questions[number]
                where = {"video": f"{folder.name}/{video.index}", "number": number}
                what = {"task": question.task, "question": question.question}
                rows.append({**where, **what, "answer": question.answer, "right": float(right)})
    columns = ["video", "number", "task", "question", "answer", "right"]
    return pd.DataFrame(rows, columns=columns)


def _videos(folder: Path) -> Sequence[Video]:
    return load_annotations(folder / ANNOTATIONS, MULTIPLE_CHOICE)


def _run_settings(setting: Setting, model: str, policy: str) -> RunSettings:
    return RunSettings(
        model=model,
        kv_size=setting.kv_size,
        sample_fps=setting.sample_fps,
        streaming=True,
        policy=policy,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["run", "table"])
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of streams")
    parser.add_argument("--policies", type=lambda text: text.split(","), required=True,
                        help="settings, as of compare.py")  # fmt: skip
    parser.add_argument("--kv_sizes", type=lambda text: [int(n) for n in text.split(",")],
                        default=[64], help="tokens per layer (default: 64)")  # fmt: skip
    parser.add_argument("--sample_fps", type=float, default=1.0, help="default: 1")
    parser.add_argument("--model", default="nano", help="key or checkpoint (default: nano)")
    parser.add_argument("--num_streams", type=int, default=None, help="the first so many alone")
    parser.add_argument("--against", default="two_speed", help="memory to subtract")
    return parser


if __name__ == "__main__":
    sys.exit(main())
