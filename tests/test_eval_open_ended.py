"""eval_open_ended.py against a real chat-completions server on this machine that misbehaves."""

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from judge_server import YES, JudgeServer, RawReply, truth

from eval.eval_open_ended import main
from eval.intervals import interval
from eval.open_ended.answers import OpenEnded
from eval.open_ended.judge_prompt import judge_request

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[JudgeServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    server = JudgeServer()
    yield server
    server.close()


# right0 (a), wrong1 (a), right2 (b), wrong3 (b), right4 (c), right5 (c)
PREDICTIONS = ["right0", "wrong1", "right2", "wrong3", "right4", "right5"]


def write_csv(folder: Path, predictions: list[str] = PREDICTIONS, **columns: Any) -> Path:
    videos = ["a", "a", "b", "b", "c", "c"][: len(predictions)]
    table = pd.DataFrame({"video_id": videos, "question": "who?", "answer": "None"})
    path = folder / "results.csv"
    table.assign(pred_answer=predictions, **columns).to_csv(path, index=False)
    return path


def arguments(folder: Path, server: JudgeServer, *more: str) -> list[str]:
    return [
        *("--pred_path", str(folder / "results.csv"), "--output_dir", str(folder / "tmp")),
        *("--output_json", str(folder / "results.json"), "--base_url", server.url),
        *("--first_backoff_seconds", "0.01", "--max_backoff_seconds", "0.02"),
        *("--max_attempts", "3", *more),
    ]


def test_the_judge_is_shown_the_text_that_stands_there(tmp_path: Path) -> None:
    """The release's pandas made "NA", "None" and an empty prediction the number `nan`."""
    texts = ["NA", "", "None", " nan ", "null"]
    rows = OpenEnded.read(write_csv(tmp_path, texts)).rows
    assert [row.pred_answer for row in rows] == texts
    for row, text in zip(rows, texts, strict=True):
        asked = judge_request("m", row.question, row.answer, row.pred_answer)["messages"][1]
        assert f"Correct Answer: None\nPredicted Answer: {text}\n" in asked["content"]


def metrics(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics.json").read_text())["open_ended"]


def output(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text())


def test_a_good_judge(tmp_path: Path, server: JudgeServer, capsys: pytest.CaptureFixture) -> None:
    write_csv(tmp_path)
    (tmp_path / "key").write_text(" secret\n")
    assert main(arguments(tmp_path, server, "--api_key_file", str(tmp_path / "key"))) == 0
    printed = capsys.readouterr().out.splitlines()
    for line in ("Yes count: 4", "No count: 2", "Accuracy: 66.7%", "Average score: 3.00"):
        assert line in printed  # truncated scores: (4 + 1 + 4 + 1 + 4 + 4) / 6
    assert "All evaluation completed!" in printed
    pair = json.loads((tmp_path / "tmp" / "a_0.json").read_text())
    texts = {"question": "who?", "answer": "None", "pred_answer": "right0"}
    assert pair == [{"pred": "yes", "score": 4.8}, texts]
    found = output(tmp_path)
    assert found["a_0"] == pair
    assert set(found) == {"a_0", "a_1", "b_0", "b_1", "c_0", "c_1", "average_score", "accuracy"}
    assert (found["average_score"], found["accuracy"]) == (3, pytest.approx(4 / 6))
    assert {body["model"] for body in server.bodies} == {"gpt-3.5-turbo-0125"}
    assert server.keys == {"Bearer secret"}
    assert "secret" not in (tmp_path / "metrics.json").read_text()


def test_metrics_by_hand(tmp_path: Path, server: JudgeServer) -> None:
    write_csv(tmp_path)
    main(arguments(tmp_path, server))
    found = metrics(tmp_path)
    assert (found["n"], found["num_judged"], found["num_unjudged"]) == (6, 6, 0)
    assert found["mean_score"] == pytest.approx((4 * 4.8 + 2 * 1) / 6)
    assert found["mean_score_truncated"] == 3
    # Cluster sums of (y - 2/3) / 6.
    bounds = interval(2 / 3, np.array([-1 / 18, -1 / 18, 1 / 9]), 6)
    assert found["interval95_percent"] == pytest.approx([100 * bound for bound in bounds])
    assert found["num_videos"] == 3


def test_a_rerun_asks_nothing_and_a_changed_prediction_is_judged_anew(
    tmp_path: Path, server: JudgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_csv(tmp_path)
    main(arguments(tmp_path, server))
    first = output(tmp_path)
    assert main(arguments(tmp_path, server)) == 0
    assert output(tmp_path) == first
    assert sum(server.tries.values()) == 6
    write_csv(tmp_path, ["right0", "right changed", *PREDICTIONS[2:]])
    assert main(arguments(tmp_path, server)) == 0
    assert server.tries["right changed"] == 1
    assert sum(server.tries.values()) == 7
    assert output(tmp_path)["a_1"][0]["pred"] == "yes"
    assert main(arguments(tmp_path, server, "--judge_model", "other")) == 0
    assert sum(server.tries.values()) == 13


def test_equal_rows_are_judged_once(tmp_path: Path, server: JudgeServer) -> None:
    write_csv(tmp_path, ["right"] * 6)
    assert main(arguments(tmp_path, server)) == 0
    assert server.tries == {"right": 1}
    assert output(tmp_path)["accuracy"] == 1


@pytest.mark.parametrize("trouble", [429, 500, 503, 408, 0, -1, -2, "no idea", "{'pred': 'yes'}"])
def test_passing_trouble_is_retried(
    tmp_path: Path, server: JudgeServer, trouble: str | int
) -> None:
    server.behaviour = lambda prediction, number: trouble if number < 3 else truth(prediction, 3)
    write_csv(tmp_path, PREDICTIONS[:3])
    patience = "0.3" if trouble == -1 else "20"
    assert main(arguments(tmp_path, server, "--timeout_seconds", patience)) == 0
    assert output(tmp_path)["accuracy"] == pytest.approx(2 / 3)
    assert set(server.tries.values()) == {3}


@pytest.mark.parametrize("trouble", [429, 500, 0, -1, -2, -3, "rubbish", 400])
def test_lasting_trouble_costs_those_rows_only(
    tmp_path: Path, server: JudgeServer, trouble: str | int, capsys: pytest.CaptureFixture
) -> None:
    server.behaviour = lambda p, number: trouble if p in ("wrong1", "right4") else truth(p, number)
    write_csv(tmp_path)
    patience = ("--timeout_seconds", "0.5" if trouble in (-1, -3) else "20")
    assert main(arguments(tmp_path, server, *patience)) == 1
    found = metrics(tmp_path)
    assert (found["num_judged"], found["num_unjudged"]) == (4, 2)
    assert set(found["unjudged_rows"]) == {"a_1", "c_0"}
    assert set(output(tmp_path)) == {"a_0", "b_0", "b_1", "c_1", "average_score", "accuracy"}
    assert output(tmp_path)["accuracy"] == 0.75
    assert server.tries["wrong1"] == (1 if trouble == 400 else 3)
    printed = capsys.readouterr().out
    assert "2 rows are NOT judged" in printed
    assert "All evaluation completed!" not in printed
    server.behaviour = truth
    server.tries.clear()
    assert main(arguments(tmp_path, server, *patience)) == 0
    assert server.tries == {"wrong1": 1, "right4": 1}
    assert output(tmp_path)["accuracy"] == pytest.approx(4 / 6)


@pytest.mark.parametrize(("status", "hint"), [(401, "key"), (403, "model"), (404, "--judge_model")])
def test_a_wrong_key_or_model_stops_at_once(
    tmp_path: Path, server: JudgeServer, status: int, hint: str, capsys: pytest.CaptureFixture
) -> None:
    server.behaviour = lambda prediction, number: status
    write_csv(tmp_path)
    assert main(arguments(tmp_path, server, "--num_tasks", "1")) == 1
    assert sum(server.tries.values()) == 1
    error = capsys.readouterr().err
    assert hint in error
    assert str(status) in error
    assert metrics(tmp_path)["num_unjudged"] == 6
    assert output(tmp_path) == {"average_score": None, "accuracy": None}


def test_a_dead_judge_is_noticed_and_keeps_what_was_judged(
    tmp_path: Path, server: JudgeServer, capsys: pytest.CaptureFixture
) -> None:
    server.behaviour = lambda p, number: truth(p, number) if p in PREDICTIONS[:2] else 0
    write_csv(tmp_path)
    more = ("--num_tasks", "1", "--stop_after_failures", "2")
    assert main(arguments(tmp_path, server, *more)) == 1
    assert "failed on 2 rows in a row" in capsys.readouterr().err
    assert metrics(tmp_path)["num_judged"] == 2
    assert metrics(tmp_path)["unjudged_rows"]["c_1"] == "not tried"
    assert server.tries["right5"] == 0


def test_scattered_failures_are_no_dead_judge(tmp_path: Path, server: JudgeServer) -> None:
    server.behaviour = lambda p, number: 0 if p in PREDICTIONS[::2] else truth(p, number)
    write_csv(tmp_path)
    more = ("--num_tasks", "1", "--stop_after_failures", "2")
    assert main(arguments(tmp_path, server, *more)) == 1
    assert metrics(tmp_path)["num_judged"] == 3
    assert "not tried" not in metrics(tmp_path)["unjudged_rows"].values()


def test_nobody_listens(tmp_path: Path, server: JudgeServer) -> None:
    server.close()
    write_csv(tmp_path)
    assert main(arguments(tmp_path, server)) == 1
    assert metrics(tmp_path)["num_unjudged"] == 6


def test_exactly_as_many_requests_at_once_as_asked(tmp_path: Path, server: JudgeServer) -> None:
    pairs = threading.Barrier(2)

    def answer_in_pairs(prediction: str, number: int) -> str:
        pairs.wait(20)  # never passed if requests came one after the other
        return truth(prediction, number)

    server.behaviour = answer_in_pairs
    write_csv(tmp_path)
    assert main(arguments(tmp_path, server, "--num_tasks", "2")) == 0
    assert server.most_at_once == 2


def test_the_verdict_on_an_earlier_prediction_does_not_stay(
    tmp_path: Path, server: JudgeServer
) -> None:
    write_csv(tmp_path)
    main(arguments(tmp_path, server))
    write_csv(tmp_path, ["new", *PREDICTIONS[1:]])
    server.behaviour = lambda prediction, number: 500
    assert main(arguments(tmp_path, server)) == 1
    assert not (tmp_path / "tmp" / "a_0.json").exists()
    assert "a_0" not in output(tmp_path)
    assert metrics(tmp_path)["num_judged"] == 5


def reply(content: str) -> RawReply:
    return 200, {}, f'{{"choices": [{{"index": 0, "message": {content}}}]}}'.encode()


PACKED = gzip.compress(b"[" + b" " * 50_000_000 + b"]")
NO_REPLIES: dict[str, RawReply] = {
    "packed": (200, {"Content-Encoding": "gzip"}, PACKED),
    "packed error": (500, {"Content-Encoding": "gzip"}, PACKED),
    "packed as something": (200, {"Content-Encoding": "x"}, b"{}"),
    "long": (200, {}, b" " * 70_000 + reply(json.dumps({"content": YES}))[2]),
    "long error": (500, {}, b"e" * 70_000),
    "nested": (200, {}, b"[" * 60_000),
    "nested error": (500, {}, b'{"error":' * 7_000),
    "no text": (200, {}, b"\xff\xfe"),
    "nothing": (200, {}, b""),
    "null": (200, {}, b"null"),
    "a number": (200, {}, b"9" * 5_000),
    "other fields": (200, {}, b'{"choices": 3}'),
    "no choices": (200, {}, b'{"choices": [null]}'),
    "no message": reply("7"),
    "text that is no text": reply('{"content": {"pred": ["yes"]}}'),
    "endless number": reply(
        json.dumps({"content": "{'pred': 'yes', 'score': " + "9" * 9000 + "}"})
    ),
    "nested content": reply(json.dumps({"content": "{" + "[" * 9000})),
    "half a character": reply(json.dumps({"content": "\ud800"})),
    "half a character in an error": (500, {}, b'{"error": {"message": "\\ud800"}}'),
    "an error that is none": (500, {}, b'{"error": [{"message": {}, "code": []}]}'),
    "another type": (200, {"Content-Type": "text/html; charset=x"}, b"<html>"),
}


@pytest.mark.parametrize("name", NO_REPLIES)
def test_a_malformed_reply_is_a_failed_row(
    tmp_path: Path, server: JudgeServer, name: str, capsys: pytest.CaptureFixture
) -> None:
    server.behaviour = lambda p, number: NO_REPLIES[name] if p == "wrong1" else truth(p, number)
    write_csv(tmp_path)
    tracemalloc.start()
    try:
        assert main(arguments(tmp_path, server)) == 1
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
    unjudged = metrics(tmp_path)["unjudged_rows"]
    assert set(unjudged) == {"a_1"}
    assert ("the reply is packed" in unjudged["a_1"]) == name.startswith("packed")
    assert metrics(tmp_path)["num_judged"] == 5
    assert server.tries["wrong1"] == 3


def test_a_reply_without_end_is_read_to_the_limit(tmp_path: Path, server: JudgeServer) -> None:
    server.behaviour = lambda p, number: -4 if p == "wrong1" else truth(p, number)
    write_csv(tmp_path)
    assert main(arguments(tmp_path, server, "--max_attempts", "1")) == 1
    assert "more than 65536 bytes" in metrics(tmp_path)["unjudged_rows"]["a_1"]
    assert server.num_flood_bytes < 50_000_000  # what the buffers of both ends take


def test_a_key_on_the_command_line_is_refused(
    tmp_path: Path, server: JudgeServer, capsys: pytest.CaptureFixture
) -> None:
    write_csv(tmp_path)
    for more in (["--api_key", "sk-1"], ["--api_key=sk-1"], ["--base_url", "http://u:sk-1@x/v1"]):
        with pytest.raises(SystemExit) as stopped:
            main(arguments(tmp_path, server, *more))
        said = capsys.readouterr().err
        assert stopped.value.code == 2 and "sk-1" not in said
        assert "OPENAI_API_KEY" in said and "--api_key_file" in said
    assert sum(server.tries.values()) == 0


@pytest.mark.parametrize(
    "content", [None, b"", b"sk-1\nsk-2\n", b"sk-1 x", b"sk-\xff", "sk-\u20ac"]
)
def test_a_file_without_a_key_is_refused(
    tmp_path: Path, server: JudgeServer, capsys: pytest.CaptureFixture, content: bytes | str | None
) -> None:
    write_csv(tmp_path)
    if content is not None:
        data = content.encode() if isinstance(content, str) else content
        (tmp_path / "key").write_bytes(data)
    with pytest.raises(SystemExit) as stopped:
        main(arguments(tmp_path, server, "--api_key_file", str(tmp_path / "key")))
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and "--api_key_file" in said and "sk-" not in said


@pytest.mark.parametrize("value", ["sk-1 x", "sk-1\n"])
def test_a_key_that_no_header_takes_is_not_repeated(
    tmp_path: Path,
    server: JudgeServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    value: str,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", value)
    write_csv(tmp_path)
    assert main(arguments(tmp_path, server)) == 1
    said = capsys.readouterr()
    assert "OPENAI_API_KEY holds no key" in said.err
    assert "sk-1" not in said.out + said.err + (tmp_path / "metrics.json").read_text()


def test_a_server_that_repeats_the_key_does_not_get_it_into_files(
    tmp_path: Path,
    server: JudgeServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    echo = (400, {}, b'{"error": {"message": "bad request by sk-secret", "code": null}}')
    server.behaviour = lambda prediction, number: echo
    write_csv(tmp_path)
    assert main(arguments(tmp_path, server)) == 1
    said = capsys.readouterr()
    files = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert "bad request by (the key)" in files and "sk-secret" not in files + said.out + said.err


def test_rows_with_an_error_are_left_out_but_keep_their_number(
    tmp_path: Path, server: JudgeServer, capsys: pytest.CaptureFixture
) -> None:
    write_csv(tmp_path, error=["cannot open", "", "", "", "", ""])
    assert main(arguments(tmp_path, server)) == 0
    assert set(output(tmp_path)) >= {"a_1", "b_0"}
    assert "a_0" not in output(tmp_path)
    assert (metrics(tmp_path)["n"], metrics(tmp_path)["num_error_rows"]) == (5, 1)
    assert "!!! 1 rows carry an error" in capsys.readouterr().out


def test_no_key_for_openai_itself(
    tmp_path: Path, server: JudgeServer, capsys: pytest.CaptureFixture
) -> None:
    write_csv(tmp_path)
    argv = [word for word in arguments(tmp_path, server) if word not in ("--base_url", server.url)]
    assert main(argv) == 1
    assert "OPENAI_API_KEY" in capsys.readouterr().err
    assert sum(server.tries.values()) == 0


def test_address_and_key_from_the_environment(
    tmp_path: Path, server: JudgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "from-environment")
    write_csv(tmp_path)
    argv = [word for word in arguments(tmp_path, server) if word not in ("--base_url", server.url)]
    assert main(argv) == 0
    assert server.keys == {"Bearer from-environment"}


def test_bad_input_is_named(
    tmp_path: Path, server: JudgeServer, capsys: pytest.CaptureFixture
) -> None:
    assert main(arguments(tmp_path, server)) == 2
    assert "no such file" in capsys.readouterr().err
    (tmp_path / "results.csv").write_text("video_id,question\n1,q\n")
    assert main(arguments(tmp_path, server)) == 2
    assert "missing column(s) answer, pred_answer" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        main(arguments(tmp_path, server, "--num_tasks", "0"))
    assert stopped.value.code == 2
    assert "--num_tasks is 0" in capsys.readouterr().err


def test_odd_video_ids_stay_inside_the_folder(tmp_path: Path, server: JudgeServer) -> None:
    write_csv(tmp_path, ["right0", "wrong1"], video_id=["../x", "a/b"])
    assert main(arguments(tmp_path, server)) == 0
    assert set(output(tmp_path)) >= {"../x_0", "a/b_0"}
    assert len(list((tmp_path / "tmp").glob("*.json"))) == 2


def test_nowhere_to_write(
    tmp_path: Path, server: JudgeServer, capsys: pytest.CaptureFixture
) -> None:
    write_csv(tmp_path)
    (tmp_path / "tmp").write_text("a file where the folder should be")
    assert main(arguments(tmp_path, server)) == 2
    assert "cannot write" in capsys.readouterr().err


def test_control_c_keeps_every_verdict(tmp_path: Path, server: JudgeServer) -> None:
    server.behaviour = lambda p, number: truth(p, number) if p in PREDICTIONS[:3] else -1
    write_csv(tmp_path)
    command = [sys.executable, "eval/eval_open_ended.py", *arguments(tmp_path, server)]
    process = subprocess.Popen(
        command, cwd=REPOSITORY, env=dict(os.environ), stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "tmp" / "verdicts").glob("*.json"))) < 3:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "3 rows are NOT judged" in printed
    assert metrics(tmp_path)["num_judged"] == 3
    server.behaviour = truth
    server.tries.clear()
    assert main(arguments(tmp_path, server)) == 0
    assert set(server.tries) == set(PREDICTIONS[3:])
    assert output(tmp_path)["accuracy"] == pytest.approx(4 / 6)
