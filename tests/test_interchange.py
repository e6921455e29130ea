"""Results of the authors' code and its forks come in, sample logs of lmms-eval go out."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from runner_helpers import OPTIONS, choice, fake_arguments, table, videos_with

from interchange.__main__ import main
from interchange.foreign_folder import FolderName
from video_qa.compare import main as compare
from video_qa.run_infer import main as run_infer

TALKS = [[choice(f"v{v} q{q}?", 6.0 + q, task="Counting") for q in range(3)] for v in range(4)]


@pytest.fixture
def anno_path(tmp_path: Path) -> Path:
    return videos_with(tmp_path, TALKS)


def released_table() -> pd.DataFrame:
    """As the release writes it: eight columns and the task; "B" is right."""
    rows = []
    for video, talk in enumerate(TALKS):
        for number, asked in enumerate(talk):
            letter = "B" if (video + number) % 2 else "A"
            rows.append(
                {
                    "video_id": video,
                    "question": asked["question"],
                    "choices": repr(OPTIONS),
                    "answer": "green",
                    "correct_choice": "B",
                    "pred_answer": f"{letter}) {'green' if letter == 'B' else 'red'}",
                    "pred_choice": letter,
                    "qa_acc": 100.0 if letter == "B" else 0.0,
                    "task": "Counting",
                }
            )
    return pd.DataFrame(rows)


def foreign(root: Path, name: str, rows: pd.DataFrame, file: str = "results.csv") -> Path:
    folder = root / "theirs" / "llava_ov_7b" / "streamingbench" / name
    folder.mkdir(parents=True, exist_ok=True)
    rows.to_csv(folder / file, index=False, quoting=2)
    return folder


def imported(root: Path, folder: Path, anno_path: Path, *more: str) -> int:
    given = ["import", str(folder), f"--anno_path={anno_path}", f"--results_root={root / 'ours'}"]
    return main([*given, *more])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("fps1-kv6000", (1.0, 6000, None)),
        ("fps1.0-kv6000", (1.0, 6000, None)),
        ("fps0.5-kvNone", (0.5, None, None)),
        ("fps0.5-kv4000-streamingvlm", (0.5, 4000, "streamingvlm")),
        ("whatever", (None, None, None)),
    ],
)
def test_a_folders_name_says_what_was_run(tmp_path, name, expected):
    found = FolderName.read(tmp_path / "llava_ov_7b" / "streamingbench" / name)
    assert (found.sample_fps, found.kv_size, found.mode) == expected
    if expected[0] is not None:
        assert (found.model, found.dataset) == ("llava_ov_7b", "streamingbench")


@pytest.mark.parametrize("name", ["fps1-kv6000", "fps1.0-kv6000"])
def test_released_results_become_a_run_folder(tmp_path, anno_path, name, capsys):
    folder = foreign(tmp_path, name, released_table().sample(frac=1, random_state=0))
    assert imported(tmp_path, folder, anno_path) == 0
    out = tmp_path / "ours" / "llava_ov_7b" / "streamingbench" / "fps1.0-kv6000"
    ours = table(out / "results.csv")
    pd.testing.assert_frame_equal(ours, released_table(), check_dtype=False)
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["general"]["accuracy_percent"] == 50
    assert metrics["general"]["num_videos"] == len(TALKS)
    assert metrics["protocol"]["imported_from"] == str(folder)
    assert metrics["protocol"]["prompts_hash"] is None
    assert "12 rows" in capsys.readouterr().out


def test_columns_and_modes_of_forks_are_taken(tmp_path, anno_path):
    rows = released_table().assign(ttft=0.1, global_video_idx=7, retrieve_size=64)
    folder = foreign(tmp_path, "fps0.5-kv4000-streamingvlm", rows)
    assert imported(tmp_path, folder, anno_path) == 0
    (out,) = (tmp_path / "ours").rglob("results.csv")
    assert out.parent.name == "fps0.5-kv4000-streamingvlm"
    config = json.loads((out.parent / "config.json").read_text())
    assert config["settings"]["policy"] == "streamingvlm"


def test_shards_that_were_never_merged(tmp_path, anno_path):
    rows = released_table()
    for number in range(2):
        part = rows[rows.video_id // 2 == number]
        folder = foreign(tmp_path, "fps1-kv6000", part, f"2_{number}.csv")
    assert imported(tmp_path, folder, anno_path) == 0
    foreign(tmp_path, "fps1-kv6000", rows, "8_0.csv")
    assert imported(tmp_path, folder, anno_path) == 2


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        (lambda rows: rows.iloc[:-2], "has 10 of the 12 questions"),
        (lambda rows: rows.assign(question="?"), "annotations do not have row 1 (video 0: ?)"),
        (lambda rows: rows.assign(correct_choice="C"), "options are in another order"),
        (lambda rows: rows.drop(columns="pred_answer"), "missing column(s) pred_answer"),
        (lambda rows: pd.concat([rows, rows.iloc[:1]]), "annotations do not have row 13"),
    ],
)
def test_results_that_do_not_fit_are_refused(tmp_path, anno_path, capsys, change, advice):
    folder = foreign(tmp_path, "fps1-kv6000", change(released_table()))
    assert imported(tmp_path, folder, anno_path) == 2
    assert advice in capsys.readouterr().err
    assert not list((tmp_path / "ours").rglob("results.csv"))


def test_missing_questions_can_be_allowed(tmp_path, anno_path):
    folder = foreign(tmp_path, "fps1-kv6000", released_table().iloc[:-2])
    assert imported(tmp_path, folder, anno_path, "--allow_missing") == 0
    assert len(table(next((tmp_path / "ours").rglob("results.csv")))) == 10


def test_a_folder_that_does_not_say_what_it_is(tmp_path, anno_path, capsys):
    folder = foreign(tmp_path, "mine", released_table())
    assert imported(tmp_path, folder, anno_path) == 2
    assert "give --model, --dataset, --sample_fps, --kv_size" in capsys.readouterr().err
    known = ["--model=m", "--dataset=streamingbench", "--sample_fps=1", "--kv_size=6000"]
    assert imported(tmp_path, folder, anno_path, *known) == 0


@pytest.fixture
def our_run(tmp_path: Path, anno_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HERMES_FAKE_FOLDER", str(tmp_path))
    given = fake_arguments(tmp_path, anno_path)
    out = tmp_path / "run"
    assert run_infer([*given, "--dataset=streamingbench", f"--save_dir={out}"]) == 0
    return out


def test_an_imported_run_stands_beside_one_of_ours(tmp_path, anno_path, our_run, capsys):
    """What it does not say is not held against it; what it says is."""
    model = tmp_path / "fake-model"
    for fps, code in (("1", 0), ("0.5", 2)):
        folder = foreign(tmp_path, f"fps{fps}-kv64", released_table())
        assert imported(tmp_path, folder, anno_path, f"--model={model}") == 0
        theirs = next(p.parent for p in (tmp_path / "ours").rglob(f"fps{float(fps)}*/results.csv"))
        ours = [f"--model={model}", "--dataset=streamingbench", "--policies=hermes"]
        ours += ["--kv_sizes=64", f"--anno_path={anno_path}"]
        ours += ["--engine=tests.fake_engine:load_model"]
        ours += [f"--results_root={tmp_path / 'results'}", "--only_report", "--device=cpu"]
        target = tmp_path / "results" / "fake-model" / "streamingbench" / "fps1-kv64"
        if not target.exists():
            target.parent.mkdir(parents=True)
            our_run.rename(target)
        assert compare([*ours, f"--runs={theirs}"]) == code
    assert "sample_fps: 1.0 in" in capsys.readouterr().err


def test_a_run_as_a_sample_log(tmp_path, our_run, capsys):
    capsys.readouterr()
    assert main(["export", str(our_run), f"--out={tmp_path / 'log'}"]) == 0
    path = Path(capsys.readouterr().out.strip())
    assert path.parent.name.endswith("fake-model")
    assert path.name.endswith("_samples_streamingbench.jsonl")
    samples = [json.loads(line) for line in path.read_text().splitlines()]
    stored = [json.loads(line) for line in (our_run / "predictions.jsonl").read_text().splitlines()]
    assert [s["doc_id"] for s in samples] == list(range(12))
    assert [s["filtered_resps"] for s in samples] == [p["prediction"] for p in stored]
    right = table(our_run / "results.csv")["qa_acc"]
    assert [100 * s["accuracy"] for s in samples] == list(right)
    first = samples[0]
    assert first["target"] == "B" and first["token_counts"] == [{"output_tokens": 3}]
    assert first["input"].startswith("Question: v0 q0?\nOptions:\n(A) red")
    assert len({s["doc_hash"] for s in samples}) == 12 and len(first["doc_hash"]) == 64
    assert "resps" not in first and "doc" not in first


def test_nothing_is_exported_of_nothing(tmp_path, our_run, capsys):
    (our_run / "predictions.jsonl").write_text("")
    assert main(["export", str(our_run), f"--out={tmp_path / 'log'}"]) == 2
    assert "no answers" in capsys.readouterr().err
    assert main(["export", str(tmp_path)]) == 2
