"""Saving a stream and continuing it; files that are no snapshots."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import assert_same, contents, open_stream, random_frames, watch

from hermes import SnapshotError
from hermes.saved import snapshot

POLICIES = ("hermes", "recent", "uniform", "none")
"""What holds no state beside the memory; `random` would also need its generator."""


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("reindex", ["lazy", "eager"])
def test_a_restored_stream_continues_as_if_never_interrupted(base_any, tmp_path, policy, reindex):
    frames, options = random_frames(48), {"policy": policy, "reindex": reindex, "kv_size": 24}
    usual = open_stream(base_any, **options)
    watch(usual, frames[:24])
    snapshot.save(usual.memory, tmp_path / "stream.safetensors", {"note": "after 24 frames"})
    saved = contents(usual)

    other = open_stream(base_any, **options)
    watch(other, random_frames(16, seed=9))  # something else was there before
    note = snapshot.load(other.memory, tmp_path / "stream.safetensors")
    other.total_processed_frames = usual.total_processed_frames
    assert note == {"note": "after 24 frames"}
    assert_same(saved, contents(other))
    for engine in (usual, other):
        watch(engine, frames[24:])
    assert_same(contents(usual), contents(other))
    assert usual.memory.position_bound == other.memory.position_bound


def test_saving_overwrites_only_when_complete(base_any, tmp_path, monkeypatch):
    engine = open_stream(base_any)
    watch(engine, random_frames(8))
    path = tmp_path / "stream.safetensors"
    snapshot.save(engine.memory, path)
    first = path.read_bytes()

    def failing(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr("hermes.saved.checked_file.save_file", failing)
    with pytest.raises(OSError, match="disk full"):
        snapshot.save(engine.memory, path)
    assert path.read_bytes() == first
    assert list(tmp_path.iterdir()) == [path]


def _truncate(path):
    path.write_bytes(path.read_bytes()[:-500])


def _text(path):
    path.write_text("no snapshot")


def _foreign(path):
    save_file({"weight": torch.zeros(3)}, path)


def _delete(path):
    path.unlink()


def _other_format(path):
    save_file(load_file(path), path, metadata={"format": "hermes-stream-99"})


def _other_model(path):
    tensors = load_file(path)
    tensors["keys"] = tensors["keys"][:4].clone()
    with_counts = {"format": "hermes-stream-1", "num_prefix": "44", "num_tokens": "60"}
    save_file(tensors, path, metadata={**with_counts, "position_bound": "60"})


DAMAGES = {
    _truncate: "cannot read the snapshot",
    _text: "cannot read the snapshot",
    _foreign: "is not a snapshot",
    _delete: "cannot read the snapshot",
    _other_format: "is not a snapshot",
    _other_model: "of another model",
}


@pytest.mark.parametrize(("damage", "message"), DAMAGES.items(), ids=[f.__name__ for f in DAMAGES])
def test_a_wrong_file_is_refused_and_the_memory_stays(base_any, tmp_path, damage, message):
    engine, path = open_stream(base_any), tmp_path / "stream.safetensors"
    watch(engine, random_frames(8))
    snapshot.save(engine.memory, path)
    before = contents(engine)
    damage(path)
    with pytest.raises(SnapshotError, match=message) as error:
        snapshot.load(engine.memory, path)
    assert str(path) in str(error.value)
    assert_same(before, contents(engine))


def test_a_snapshot_of_the_other_family_is_refused(load, tmp_path):
    llava, qwen = (open_stream(load(family)) for family in ("llava", "qwen"))
    watch(llava, random_frames(8))
    snapshot.save(llava.memory, tmp_path / "stream")
    with pytest.raises(SnapshotError, match="position axes"):
        snapshot.load(qwen.memory, tmp_path / "stream")
