"""`scripts/tune_memory.py`: what was watched is not watched again, what was cut off is."""

from __future__ import annotations

import json

from scripts import tune_memory
from video_qa.nanostream.write import Settings, write_split


def test_a_setting_watches_a_stream_once(tmp_path, capsys, monkeypatch):
    length = {"min_minutes": 0.2, "max_minutes": 0.2}
    stream = {"num_streams": 2, "fps": 1, "video_format": "npy", "questions_per_task": 1}
    write_split(tmp_path, Settings(split="train", **length, **stream))
    answers, sizes = tmp_path / tune_memory.ANSWERS, []

    def call(what: str, policies: str) -> None:
        options = ["--data", str(tmp_path), "--kv_sizes", "16", "--policies", policies]
        assert tune_memory.main([what, *options, "--against", "recent"]) == 0
        sizes.append(len(tune_memory.stored(tmp_path)))

    call("run", "recent,uniform")
    with answers.open("r+", encoding="utf-8") as file:
        file.truncate(answers.stat().st_size - 9)  # killed while it wrote
    call("table", "recent")
    watch, watched = tune_memory._watch, []
    monkeypatch.setattr(
        tune_memory, "_watch", lambda *of: watched.append(of[2].index) or watch(*of)
    )
    call("run", "recent,uniform,two_speed:recent_share=0.5")
    assert sizes == [4, 3, 6] and watched == [0, 1]
    lines = [line for line in answers.read_text().splitlines() if '"uniform"' in line]
    assert (
        json.loads(lines[0])["right"]
        == tune_memory.stored(tmp_path)[tune_memory.Setting("uniform", 16, 1.0), 0]
    )
    capsys.readouterr()
    call("table", "recent,uniform")
    first, second = capsys.readouterr().out.splitlines()
    assert "all" in first and "+0.0" in first and second.startswith("uniform")
