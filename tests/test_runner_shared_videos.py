"""Where several entries share a video, results.csv says which: intervals cluster by video."""

import json

import pandas as pd
import pytest

from video_qa.questions.annotation_file import load_annotations
from video_qa.questions.annotations import MULTIPLE_CHOICE
from video_qa.results.prediction import Prediction
from video_qa.results.results_csv import write_results_csv

pytest.importorskip("pydantic")


def entry(number, path):
    question = {"question": "q", "answer": "x", "choices": ["x", "y"], "end_time": 1}
    return {"video_id": number, "video_path": path, "conversations": [question]}


@pytest.mark.parametrize(
    ("paths", "shared"), [(["a.mp4", "a.mp4"], True), (["a.mp4", "b.mp4"], False)]
)
def test_video_path_column(tmp_path, paths, shared):

    annotations = tmp_path / "anno.json"
    annotations.write_text(json.dumps([entry(i, path) for i, path in enumerate(paths)]))
    videos = load_annotations(annotations, MULTIPLE_CHOICE)
    predictions = {
        (video.index, 0): Prediction(
            run_id="r",
            video_index=video.index,
            video_id=video.video_id,
            question_index=0,
            question="q",
            end_time=1,
            correct_letter="A",
            prediction="A)",
            letter="A",
            correct=True,
        )
        for video in videos
    }
    write_results_csv(tmp_path / "results.csv", videos, predictions, MULTIPLE_CHOICE)
    table = pd.read_csv(tmp_path / "results.csv")
    assert ("video_path" in table.columns) == shared
    if shared:
        assert list(table["video_path"]) == paths
        assert table.columns[-1] == "video_path"
