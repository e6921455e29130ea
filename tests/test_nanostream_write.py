"""Files of the benchmark: H.264, readable annotations, resumable and never half-written."""

import hashlib
import json
from dataclasses import replace

import av
import numpy as np
import pytest

from video_qa.nanostream import write
from video_qa.nanostream.__main__ import main
from video_qa.nanostream.picture.render import render
from video_qa.nanostream.picture.shapes import RGB
from video_qa.nanostream.world import Scene, Thing, World
from video_qa.nanostream.write import NanoStreamError, Settings, write_split
from video_qa.questions.annotation_file import load_annotations

SMALL = Settings(num_streams=2, min_minutes=0.2, max_minutes=0.3)


def digests(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*.mp4")}


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    out = tmp_path_factory.mktemp("nano")
    return out, write_split(out, SMALL)


def test_videos_are_h264_of_the_promised_length(split):
    _, files = split
    for entry in json.loads(files["nanostream"].read_text()):
        with av.open(entry["video_path"]) as container:
            stream = container.streams.video[0]
            assert stream.codec_context.name == "h264"
            frames = sum(1 for _ in container.decode(video=0))
        assert frames == entry["duration"] * SMALL.fps


def test_the_schema_loads(split):
    _, files = split
    for kind, file in files.items():
        videos = load_annotations(file)
        assert len(videos) == SMALL.num_streams
        for question in (q for video in videos for q in video.questions):
            assert (question.choices is not None) == (kind == write.CHOICE)
            assert question.task and question.end_time_seconds is not None


def test_same_settings_same_bytes(split, tmp_path):
    write_split(tmp_path, SMALL)
    assert digests(tmp_path) == digests(split[0])


def test_a_stopped_run_continues(tmp_path, monkeypatch):
    real, calls = write.encode, []

    def stops(frames, file, fps, size):
        calls.append(file)
        real(frames, file, fps, size)
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(write, "encode", stops)
    arguments = ["--out", str(tmp_path), "--num_streams", "2"]
    arguments += ["--min_minutes", "0.2", "--max_minutes", "0.3"]
    assert main(arguments) == 130
    assert len(digests(tmp_path)) == 1 and not list(tmp_path.rglob("*.part"))
    assert not (tmp_path / "nanostream_test.json").exists()
    assert main(arguments) == 0
    assert len(calls) == 3 and len(digests(tmp_path)) == 2


def test_other_settings_are_not_mixed_in(split):
    with pytest.raises(NanoStreamError, match="other settings"):
        write_split(split[0], Settings(num_streams=3, min_minutes=0.2, max_minutes=0.3))


def test_a_folder_of_before_there_were_editions_is_of_the_first(tmp_path):
    first = replace(SMALL, edition=1)
    files = write_split(tmp_path, first)
    text = files["nanostream"].read_text()
    settings = tmp_path / "test_settings.json"
    stored = json.loads(settings.read_text())
    del stored["edition"]
    settings.write_text(json.dumps(stored))
    with pytest.raises(NanoStreamError, match="edition: 1 there, 2 now"):
        write_split(tmp_path, SMALL)
    assert files["nanostream"].read_text() == text and "edition" not in settings.read_text()
    write_split(tmp_path, first)
    assert files["nanostream"].read_text() == text and "edition" in settings.read_text()


def test_editions_show_the_same_and_ask_otherwise(split, tmp_path):
    files = write_split(tmp_path, replace(SMALL, edition=1))
    assert digests(tmp_path) == digests(split[0])
    first, newest = (
        {line["task"] for entry in json.loads(text) for line in entry["conversations"]}
        for text in (files["nanostream"].read_text(), split[1]["nanostream"].read_text())
    )
    assert newest - first == {"answerable"} and first <= newest


def test_out_that_is_a_file(tmp_path, capsys):
    (tmp_path / "taken").write_text("x")
    assert main(["--out", str(tmp_path / "taken")]) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong", [["--num_streams", "0"], ["--size", "57"], ["--min_minutes", "5"], ["--fps", "0"]]
)
def test_bad_values_are_named(tmp_path, capsys, wrong):
    assert main(["--out", str(tmp_path), *wrong]) == 2
    assert wrong[0].lstrip("-") in capsys.readouterr().err


def test_a_thing_is_drawn_in_its_colour_and_quadrant():
    thing = Thing("circle", "blue", "bottom-left")
    frame = next(render(World(1, ((thing,),), (Scene(0, 1, 4),))))
    distance = np.abs(frame[76:92, 20:36].astype(float) - RGB["blue"]).mean((0, 1)).max()
    elsewhere = np.abs(frame[20:36, 76:92].astype(float) - RGB["blue"]).mean((0, 1)).max()
    assert distance < 25 < elsewhere
