"""The model for lmms-eval, on a stub of its base class (the package needs an environment apart)."""

from __future__ import annotations

import abc
import importlib
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from runner_helpers import write_array
from tiny import open_stream

from inference import Stream

ROOT = Path(__file__).resolve().parent.parent


class Hook:
    """Remembers what it is given, like the response cache."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def add_partial(self, *call: Any) -> None:
        self.calls.append(call)


class lmms(abc.ABC):
    """What `lmms_eval.api.model.lmms` (0.7.2) asks of a subclass and gives to it."""

    is_simple = True

    def __init__(self) -> None:
        self._rank, self._world_size = 0, 1
        self.cache_hook = Hook()
        self.task_dict: dict[str, Any] = {}

    @abc.abstractmethod
    def loglikelihood(self, requests: Any) -> Any: ...

    @abc.abstractmethod
    def generate_until(self, requests: Any) -> Any: ...

    @abc.abstractmethod
    def generate_until_multi_round(self, requests: Any) -> Any: ...

    @property
    def rank(self) -> int:
        return self._rank


@dataclass(frozen=True)
class ModelManifest:
    model_id: str
    simple_class_path: str | None = None
    chat_class_path: str | None = None
    aliases: tuple[str, ...] = ()


@dataclass
class Instance:
    arguments: tuple[Any, ...]

    @property
    def args(self) -> tuple[Any, ...]:
        return self.arguments


@pytest.fixture
def adapter(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module, imported against the stub."""
    names = ("", ".api", ".api.model", ".models", ".models.registry_v2")
    stubs = {f"lmms_eval{name}": ModuleType(f"lmms_eval{name}") for name in names}
    stubs["lmms_eval.api.model"].lmms = lmms  # type: ignore[attr-defined]
    stubs["lmms_eval.models.registry_v2"].ModelManifest = ModelManifest  # type: ignore[attr-defined]
    for name, module in stubs.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "interchange.lmms_eval_model", raising=False)
    return importlib.import_module("interchange.lmms_eval_model")


@pytest.fixture
def model(adapter: ModuleType, load: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    given: dict[str, Any] = {}

    def opened(pretrained: str, **options: Any) -> Stream:
        given.update(options, pretrained=pretrained)
        return Stream(open_stream(load("llava"), kv_size=options["kv_size"]))

    monkeypatch.setattr(adapter, "open_stream", opened)
    made = adapter.HermesStream(
        pretrained="tiny", kv_size=16, sample_fps=1, batch_size="auto", max_batch_size=None
    )
    assert given == {
        "pretrained": "tiny",
        "kv_size": 16,
        "device": None,
        "sample_fps": 1,
        "data_set": {"reindex": "eager"},
    }
    made.task_dict["task"] = {"test": {}}
    return made


def asked(model: Any, doc: int, visuals: list[Any], context: str = "?", **options: Any) -> Instance:
    """A request as a "simple" model gets it."""
    model.task_dict["task"]["test"][doc] = visuals
    options = {"max_new_tokens": 3, **options}
    return Instance((context, options, lambda found: found, doc, "task", "test"))


def test_it_watches_the_video_and_answers_the_prompt(model, load, tmp_path):
    path = str(write_array(tmp_path / "v.npy", 20))
    texts = model.generate_until([asked(model, 0, [path], "What?")])
    stream = Stream(open_stream(load("llava"), kv_size=16))
    stream.watch(path)
    assert texts == [str(stream.ask("What?", max_new_tokens=3))] and texts != [""]
    request = ("What?", {"max_new_tokens": 3})
    assert model.cache_hook.calls == [("generate_until", request, texts[0])]


def test_questions_about_one_video_are_independent(model, tmp_path, monkeypatch):
    first, second = (str(write_array(tmp_path / f"{i}.npy", 6, seed=i)) for i in range(2))
    watched: list[Any] = []
    watch = model.stream.watch
    monkeypatch.setattr(
        model.stream, "watch", lambda source, **more: watched.append(source) or watch(source)
    )
    order = [(0, first), (1, first), (2, second), (3, first)]
    texts = model.generate_until([asked(model, doc, [path]) for doc, path in order])
    assert watched == [first, second, first]
    assert texts[0] == texts[1] == texts[3]


def test_images_and_stop_texts(model):
    image = pytest.importorskip("PIL.Image").fromarray(np.zeros((8, 8, 3), np.uint8))
    (whole,) = model.generate_until([asked(model, 0, [[image]])])
    assert model.stream.num_frames == 1 and whole
    assert model.generate_until([asked(model, 0, [[image]], until=[whole, "never"])]) == [""]


STOPS = [((), "a. b\nc"), ("\n", "a. b"), (["\n", ".", ""], "a"), (["x"], "a. b\nc")]


@pytest.mark.parametrize(("until", "kept"), STOPS)
def test_the_first_stop_text_ends_the_answer(adapter, until, kept):
    assert adapter._cut("a. b\nc", until) == kept


def test_what_it_does_not_do_it_says(model):
    with pytest.raises(NotImplementedError, match="generate_until"):
        model.loglikelihood([])
    with pytest.raises(NotImplementedError, match="single questions"):
        model.generate_until_multi_round([])
    with pytest.raises(ValueError, match="neither a video nor an image"):
        model.generate_until([asked(model, 0, [])])


def test_lmms_eval_finds_it_by_its_entry_point(adapter):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, function = project["entry-points"]["lmms_eval.models"]["hermes_stream"].split(":")
    assert module == adapter.__name__
    found = getattr(adapter, function)()
    path, name = found.simple_class_path.rsplit(".", 1)
    assert getattr(importlib.import_module(path), name) is adapter.HermesStream
    assert found.model_id == "hermes_stream" and found.chat_class_path is None
    assert issubclass(adapter.HermesStream, lmms) and adapter.HermesStream.is_simple


def test_without_lmms_eval_only_this_file_cannot_be_imported():
    if importlib.util.find_spec("lmms_eval"):
        pytest.skip("lmms_eval is installed")
    sys.modules.pop("interchange.lmms_eval_model", None)
    with pytest.raises(ImportError, match="lmms_eval"):
        importlib.import_module("interchange.lmms_eval_model")
    importlib.import_module("interchange.__main__")
