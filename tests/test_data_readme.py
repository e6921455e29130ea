"""data/README.md and models/README.md can be followed word by word."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

pytest.importorskip("pydantic")
from inference.checkpoints.models import MODELS
from reproduction.checkpoint_sizes import SHAPES
from scripts.model_memory import rows
from video_qa.preparation.command import _parser
from video_qa.preparation.datasets import DATA_SETS
from video_qa.questions.annotation_schema import QuestionEntry, VideoEntry, json_schema
from video_qa.questions.benchmarks import DATASETS

ROOT = Path(__file__).resolve().parents[1]
DATA = (ROOT / "data/README.md").read_text()
MODEL = (ROOT / "models/README.md").read_text()


def commands(text: str, start: str) -> list[list[str]]:
    return [shlex.split(line) for line in re.findall(rf"^ {{4}}({start} .*)$", text, re.M)]


def test_every_data_set_has_its_commands_and_they_are_understood():
    told = set()
    for words in commands(DATA, "python scripts/prepare_data.py"):
        arguments = _parser("prepare_data.py").parse_args(words[2:])
        told |= {arguments.dataset} if arguments.source else set()
    assert told == set(DATA_SETS)


def test_downloads_go_where_the_preparation_looks():
    prepared = commands(DATA, "python scripts/prepare_data.py")
    sources = {words[words.index("--source") + 1] for words in prepared if "--source" in words}
    folders = set()
    for words in commands(DATA, "hf download"):
        assert words[words.index("--repo-type") + 1] == "dataset"
        folders.add(words[words.index("--local-dir") + 1])
        assert f"https://huggingface.co/datasets/{words[2]}" in DATA, words[2]
        assert any(words[2] in data_set.source for data_set in DATA_SETS.values()) or (
            words[2] == "mjuicem/StreamingBench"
        )
    assert sources - {"downloads/egoschema"} <= folders | {"downloads/trace"}
    for words in commands(DATA, "curl"):
        assert str(Path(words[words.index("-o") + 1]).parent) in sources


@pytest.mark.parametrize("key", DATASETS)
def test_the_table_of_files_has_every_key(key):
    benchmark = DATASETS[key]
    known = {
        name: counts for d in DATA_SETS.values() for name, counts in d.annotations.items() if counts
    }
    (line,) = [line for line in DATA.splitlines() if line.startswith("| `") and f"`{key}`" in line]
    if benchmark.annotation_file is None or "nanostream" in key:
        return
    assert f"`{benchmark.annotation_file}`" in line
    counts = known.get(benchmark.annotation_file.removeprefix("data/"))
    assert counts is None or f"{counts.entries:,} / {counts.questions:,}" in line


@pytest.mark.parametrize(("level", "model"), [("video", VideoEntry), ("question", QuestionEntry)])
def test_the_table_of_the_schema_names_every_field(level, model):
    named = set(
        re.findall(r"`(\w+)`", " ".join(re.findall(rf"^\| {level} \| ([^|]*)\|", DATA, re.M)))
    )
    assert named == set(model.model_fields)


def test_the_published_schema_is_the_loaders():
    published = json.loads((ROOT / "data/annotation.schema.json").read_text())
    assert published == json_schema(), "write it again: json.dumps(json_schema(), indent=1)"
    question = published["$defs"]["QuestionEntry"]["properties"]
    assert question["choices"]["anyOf"][0]["maxItems"] == 8
    fields = [*published["$defs"]["VideoEntry"]["properties"].values(), *question.values()]
    assert all(field.get("description") for field in fields)


def test_models_have_source_licence_and_computed_sizes():
    assert set(SHAPES) >= {key for key, entry in MODELS.items() if entry.hub_id is not None}
    for row in rows():
        assert row in MODEL, "write the table again: python scripts/model_memory.py"
    for key, entry in MODELS.items():
        start = re.escape(f"| `{key}` | `{entry.path}` |")
        (line,) = re.findall(rf"^{start}.*$", MODEL, re.M)
        assert line.split("|")[4].strip(), f"{key} has no licence"


def test_the_size_of_a_stream_is_what_its_buffers_take():
    """Against the memory itself, on a small shape."""
    import torch

    from hermes.store.layer_stack import LayerStack
    from reproduction.checkpoint_sizes import CHUNK_FRAMES, Shape

    shape = Shape(num_parameters=0, num_layers=3, num_kv_heads=2, tokens_per_frame=4, head_dim=8)
    stack = LayerStack(
        layers=range(shape.num_layers),
        num_kv_heads=shape.num_kv_heads,
        head_dim=shape.head_dim,
        capacity=40 + CHUNK_FRAMES * shape.tokens_per_frame,
        dtype=torch.float16,
        device=torch.device("cpu"),
        num_axes=1,
        position_dtype=torch.int64,
    )
    buffers = (stack.keys, stack.values, stack.rotated)
    assert sum(b.numel() * b.element_size() for b in buffers) == shape.stream_bytes(40)
