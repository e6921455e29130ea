"""Shared fixtures, and the rule that a required GPU may not be skipped.

HERMES_TEST_DEVICE (default cpu) and HERMES_TEST_DTYPE (default float32) choose where and in which
precision the contracts run; oracles with tolerances always run in float32. The device may be
`pretended:1` or `pretended:2`: that many GPUs that do not exist, layers spread over them.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import pytest

DEVICE = os.environ.get("HERMES_TEST_DEVICE", "cpu")
NUM_PRETENDED = int(DEVICE.split(":")[1]) if DEVICE.startswith("pretended:") else 0
DTYPE = os.environ.get("HERMES_TEST_DTYPE", "float32")
FAMILIES = ("llava", "qwen")


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def pytest_configure() -> None:
    """A shell's background job ignores SIGINT, and so would every program the tests start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


EXTRAS = {"ray": "ray", "slurm": "submitit"}
"""Marker and extra -> module."""


def _check_extra(item: pytest.Item) -> None:
    """Skip tests of an extra that is not installed; fail them where it is required."""
    for extra, module in EXTRAS.items():
        if item.get_closest_marker(extra) is None or find_spec(module) is not None:
            continue
        reason = f"{module} is not installed: pip install '.[{extra}]'"
        if os.environ.get("HERMES_REQUIRE_LAUNCHERS") == "1":
            pytest.fail(f"HERMES_REQUIRE_LAUNCHERS=1, but {reason}", pytrace=False)
        pytest.skip(reason)


FIRST = ("readme", "hermes_contracts", "nano_answers", "inference_saved_policies", "qwen3_policies")
FIRST += ("inference_together", "nanostream_priors", "runner_infer", "kv_dtype", "execution")
"""Test files of ten seconds and more; one that came last would keep one process busy alone."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files before all others, which keep their order."""
    ranks = {f"test_{name}.py": rank for rank, name in enumerate(FIRST)}
    items.sort(key=lambda item: ranks.get(item.path.name, len(ranks)))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip `gpu` tests without CUDA; fail them instead where a GPU is required."""
    _check_extra(item)
    if item.get_closest_marker("gpu") is None or _has_gpu():
        return
    if os.environ.get("HERMES_REQUIRE_GPU") == "1":
        pytest.fail("HERMES_REQUIRE_GPU=1, but torch sees no CUDA device", pytrace=False)
    pytest.skip("needs a CUDA device (torch sees none)")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], object]:
    """Family -> folder of a tiny random checkpoint, written once."""
    from scripts.tiny_checkpoints import save_tiny_checkpoint

    folders: dict[str, object] = {}

    def of(family: str) -> object:
        if family not in folders:
            folder = tmp_path_factory.mktemp(f"tiny-{family}")
            folders[family] = save_tiny_checkpoint(folder, family)
        return folders[family]

    return of


@pytest.fixture(scope="session")
def load(checkpoint: Callable[[str], object]) -> Callable[..., object]:
    """(family, dtype name) -> engine over weights that are loaded once per session."""
    return _loader(checkpoint, "cpu" if NUM_PRETENDED else DEVICE)


@pytest.fixture(scope="session")
def load_on_host(
    load: Callable[..., object], checkpoint: Callable[[str], object]
) -> Callable[..., object]:
    """The same on the CPU where `load` is on a GPU: for tests that pretend a GPU themselves."""
    return load if DEVICE == "cpu" or NUM_PRETENDED else _loader(checkpoint, "cpu")


def _loader(checkpoint: Callable[[str], object], device: str) -> Callable[..., object]:
    from inference import load_model

    engines: dict[tuple[str, str], object] = {}

    def of(family: str, dtype: str = "float32") -> object:
        key = (family, dtype)
        if key not in engines:
            engines[key], _ = load_model(
                checkpoint(family),
                kv_size=24,
                device=device,
                dtype=dtype,
                sample_fps=1,
            )
            if NUM_PRETENDED:
                engines[key] = _pretended(engines[key])
        return engines[key]

    return of


def _pretended(engine: Any) -> Any:
    """The engine on pretended GPUs; its weights serve every later pretence."""
    from pretended_device import pretended_devices, spread

    with pretended_devices(NUM_PRETENDED):
        spread(engine.model, NUM_PRETENDED)
        return type(engine)(
            engine.model, engine.processor, engine.config, sample_fps=engine.sample_fps
        )


@pytest.fixture(autouse=True)
def _pretence() -> Iterator[None]:
    """Every test runs among the pretended GPUs if they were asked for."""
    if not NUM_PRETENDED:
        yield
        return
    from pretended_device import pretended_devices

    with pretended_devices(NUM_PRETENDED):
        yield


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    """Both model families."""
    return request.param


@pytest.fixture
def base(family: str, load: Callable[..., object]) -> object:
    """A float32 engine of the family; tests open their own streams on it."""
    return load(family)


@pytest.fixture
def base_any(family: str, load: Callable[..., object]) -> object:
    """The same in the precision of HERMES_TEST_DTYPE."""
    return load(family, DTYPE)


@pytest.fixture(scope="session")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """Folder with both golden checkpoints and their reduced traces, unpacked."""
    from tiny import TESTS

    from scripts.shrink_golden import unpack

    yield unpack(TESTS / "golden", tmp_path_factory.mktemp("golden"))
