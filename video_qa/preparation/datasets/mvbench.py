"""MVBench: twenty files of 200 questions, in alphabetical order of their tasks.

Branch `main` has `json/*.json` and `video/*.zip`. `nturgbd.zip` was deleted there: these clips have
to be asked for at NTU. Episodic reasoning comes as folders of frames at 3 per second with bounds.
Four more tasks have bounds (`start`, `end`) in videos that branch `video` holds cut already. Not
confirmed: how it names those clips; a video whose name ends in `_START_END` is taken as it is, any
other one is watched between its bounds. The authors of HERMES watch them without bounds, which
`--compare` says.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from video_qa.json_input.checks import Checked, Number, Text, check
from video_qa.preparation.data_set import Annotation, Counts, DataSet, Entry, Findings
from video_qa.preparation.official_files import find_file, read_records
from video_qa.preparation.official_values import below

ANNOTATION = "mvbench/mvbench.json"
KNOWN = Counts(4000, 4000)
FOLDERS = {
    "action_antonym": "ssv2_video",
    "action_count": "perception/videos",
    "action_localization": "sta/sta_video",
    "action_prediction": "star/Charades_v1_480",
    "action_sequence": "star/Charades_v1_480",
    "character_order": "perception/videos",
    "counterfactual_inference": "clevrer/video_validation",
    "egocentric_navigation": "vlnqa",
    "episodic_reasoning": "tvqa/frames_fps3_hq",
    "fine_grained_action": "Moments_in_Time_Raw/videos",
    "fine_grained_pose": "nturgbd_convert",
    "moving_attribute": "clevrer/video_validation",
    "moving_count": "clevrer/video_validation",
    "moving_direction": "clevrer/video_validation",
    "object_existence": "clevrer/video_validation",
    "object_interaction": "star/Charades_v1_480",
    "object_shuffle": "perception/videos",
    "scene_transition": "scene_qa/video",
    "state_change": "perception/videos",
    "unexpected_action": "FunQA_test/test",
}
"""Task -> folder of its videos."""
OTHER_NAMES = {"nturgbd_convert": ("nturgbd",)}
SUFFIXES = (".mp4", ".avi", ".webm", ".mkv")
KNOWN_FOLDERS = sorted({*FOLDERS.values(), *(name for o in OTHER_NAMES.values() for name in o)})
VIDEO = re.compile(rf".*/((?:{'|'.join(map(re.escape, KNOWN_FOLDERS))})/.+)")
NTU = "deleted upstream: ask for NTU RGB+D at rose1.ntu.edu.sg/dataset/actionRecognition"


class OfficialRecord(Checked):
    """A record of one task."""

    video: Text
    question: Text
    candidates: list[str]
    answer: str
    start: Number | None = None
    end: Number | None = None
    fps: Number | None = None
    subtitle: str | None = None
    show_name: str | None = None


def convert(source: Path, videos: Path, findings: Findings) -> Sequence[Annotation]:
    """One entry per question, numbered over all tasks."""
    entries: list[Entry] = []
    for task in FOLDERS:
        path = find_file(source, (f"{task}.json",))
        read = partial(_entry, task=task, videos=videos)
        for index, record in enumerate(read_records(path)):
            entries += findings.convert(record, f"{path.name}, record {index}", read)
    numbered = [entry | {"video_id": number} for number, entry in enumerate(entries)]
    return [Annotation(ANNOTATION, numbered, KNOWN)]


def _entry(record: Any, where: str, task: str, videos: Path) -> Entry:
    official = check(OfficialRecord, record, where)
    question = {
        "question": official.question,
        "choices": official.candidates,
        "answer": official.answer,
        "task": task,
    }
    bounds = _bounds(official)
    path, is_cut = _video(FOLDERS[task], below(official.video, where), bounds, videos)
    entry: Entry = {"video_path": path, "conversations": [question]}
    for name in ("subtitle", "show_name", "fps"):
        if (value := getattr(official, name)) is not None:
            entry[name] = value
    if bounds is not None and not is_cut:
        entry["clip"] = bounds
    return entry


def _bounds(official: OfficialRecord) -> list[float] | None:
    if official.start is None or official.end is None:
        return None
    return [official.start, official.end]


def _video(folder: str, name: str, bounds: list[float] | None, videos: Path) -> tuple[str, bool]:
    """The path under which a video is there, and whether it is the bounded part alone."""
    suffix = Path(name).suffix
    stem = name.removesuffix(suffix) if suffix in SUFFIXES else name
    endings = (suffix, *SUFFIXES) if suffix in SUFFIXES else ("",)
    names = [f"{stem}{ending}" for ending in endings]
    cut = [] if bounds is None else [f"{stem}_{bounds[0]}_{bounds[1]}{end}" for end in endings]
    for alias in (folder, *OTHER_NAMES.get(folder, ())):
        for file in (*cut, *names):
            if (videos / alias / file).exists():
                return f"{alias}/{file}", file in cut
    return f"{folder}/{name}", False


def place(member: str) -> str | None:
    """What lies in the folder of a task keeps its path from there on."""
    match = VIDEO.fullmatch(f"/{member}")
    return match[1] if match and "__MACOSX" not in member else None


MVBENCH = DataSet(
    convert,
    {ANNOTATION: KNOWN},
    source="hub OpenGVLab/MVBench",
    archives=("*.zip",),
    place=place,
    advice={"nturgbd": NTU},
)
