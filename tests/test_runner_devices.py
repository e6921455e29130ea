"""Which worker sees which GPU, decided without a GPU."""

from __future__ import annotations

import pytest

from video_qa.runner.devices import CPU, DeviceError, visible_gpus, worker_devices


def seen(requested: str | None, gpus: list[str], per_worker: int = 1) -> list[str]:
    return [d.cuda_visible_devices for d in worker_devices(requested, gpus, per_worker)]


@pytest.mark.parametrize(
    ("outer", "num_gpus", "expected"),
    [
        (None, 3, ["0", "1", "2"]),
        ("4,5", 2, ["4", "5"]),
        ("5, 4", 2, ["5", "4"]),
        ("GPU-a,GPU-b", 2, ["GPU-a", "GPU-b"]),
        ("", 0, []),
        ("0,1", 0, []),
        ("3,-1,4", 1, ["3"]),
    ],
)
def test_outer_choice_is_respected(outer: str | None, num_gpus: int, expected: list[str]) -> None:
    environment = {} if outer is None else {"CUDA_VISIBLE_DEVICES": outer}
    assert visible_gpus(environment, num_gpus) == expected


@pytest.mark.parametrize("requested", ["0,1", "cuda:0,cuda:1", "cuda:0, 1", "cuda", None])
def test_numbers_count_within_the_visible_gpus(requested: str | None) -> None:
    assert seen(requested, ["4", "7"]) == ["4", "7"]


def test_large_models_get_several_gpus_each() -> None:
    assert seen(None, list("01234567"), per_worker=4) == ["0,1,2,3", "4,5,6,7"]
    assert seen("0,2,4,6,7", list("01234567"), per_worker=2) == ["0,2", "4,6"]


def test_cpu_hides_the_gpus() -> None:
    assert worker_devices("cpu", ["0"]) == [CPU] == worker_devices(None, [])
    assert CPU.environment() == {"CUDA_VISIBLE_DEVICES": ""}


@pytest.mark.parametrize(
    ("requested", "gpus", "per_worker", "named"),
    [
        ("2", ["0", "1"], 1, "GPU 2 was asked for.*2 visible"),
        ("cuda:0", [], 1, "GPU 0 was asked for.*none"),
        ("cuda", [], 1, "needs 1 GPU"),
        ("0,1", ["0", "1"], 4, "needs 4 GPU.*gives 2"),
        ("tpu", ["0"], 1, "unknown device 'tpu': expected 'cpu'"),
        ("0,,1", ["0", "1"], 1, "unknown device ''"),
        ("-1", ["0"], 1, "unknown device '-1'"),
        ("", ["0"], 1, "unknown device ''"),
    ],
)
def test_devices_that_are_not_there(
    requested: str, gpus: list[str], per_worker: int, named: str
) -> None:
    with pytest.raises(DeviceError, match=named):
        worker_devices(requested, gpus, per_worker)
