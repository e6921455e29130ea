"""A stream that is saved and continued, in another engine, is the stream that was not."""

import pytest
import torch

from hermes import SnapshotError
from hermes.saved.snapshot import save
from inference import load_model
from inference.saved.stream_file import load_stream, save_stream
from scripts.tiny_checkpoints import save_tiny_checkpoint

POLICIES = ("hermes", "random", "recent")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_tiny_checkpoint(tmp_path_factory.mktemp("tiny"))


def open_engine(checkpoint, policy="hermes"):
    engine, _ = load_model(checkpoint, kv_size=40, device="cpu", policy=policy)
    return engine


def watch(engine, chunks):
    for chunk in chunks:
        generator = torch.Generator().manual_seed(chunk)
        shape = (8, 56, 56, 3)
        engine.encode_video_chunk(
            torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        )
        engine.predict_and_compress()


def ask(engine):
    prompt = engine.get_prompt("What now?")
    return engine.question_answering({"prompt": prompt, "question": "What now?"}, 6)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_continued_stream_equals_an_uninterrupted_one(checkpoint, tmp_path, policy):
    whole, first = open_engine(checkpoint, policy), open_engine(checkpoint, policy)
    for engine in (whole, first):
        watch(engine, range(4))
        ask(engine)
    save_stream(first, tmp_path / "stream.safetensors")
    second = open_engine(checkpoint, policy)
    watch(second, range(90, 92))  # another stream, to be forgotten
    load_stream(second, tmp_path / "stream.safetensors")
    for engine in (whole, second):
        watch(engine, range(4, 8))
    assert ask(second) == ask(whole)
    assert second.conv_history == whole.conv_history
    assert second.total_processed_frames == whole.total_processed_frames
    used = slice(0, whole.memory.num_tokens)
    assert torch.equal(second.memory.positions[..., used], whole.memory.positions[..., used])
    for ours, theirs in zip(second.memory.layers, whole.memory.layers, strict=True):
        torch.testing.assert_close(ours.keys[:, used], theirs.keys[:, used])
        torch.testing.assert_close(ours.values[:, used], theirs.values[:, used])


@pytest.mark.parametrize("policy", POLICIES)
def test_a_stream_that_has_seen_nothing_can_be_saved(checkpoint, tmp_path, policy):
    first, second, whole = (open_engine(checkpoint, policy) for _ in range(3))
    first.clear_cache()
    save_stream(first, tmp_path / "stream.safetensors")
    watch(second, range(90, 92))  # another stream, to be forgotten
    load_stream(second, tmp_path / "stream.safetensors")
    for engine in (whole, second):
        watch(engine, range(4))
    assert ask(second) == ask(whole)
    assert second.memory.num_tokens == whole.memory.num_tokens


def test_a_stream_of_another_policy_is_refused(checkpoint, tmp_path):
    engine = open_engine(checkpoint)
    watch(engine, range(2))
    save_stream(engine, tmp_path / "s")
    with pytest.raises(SnapshotError, match="policy is 'hermes' in the file and 'recent' here"):
        load_stream(open_engine(checkpoint, "recent"), tmp_path / "s")


def test_a_bare_memory_is_no_stream(checkpoint, tmp_path):
    engine = open_engine(checkpoint)
    watch(engine, range(2))
    save(engine.memory, tmp_path / "s")
    with pytest.raises(SnapshotError, match="no stream"):
        load_stream(open_engine(checkpoint), tmp_path / "s")
