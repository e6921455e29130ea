"""A family is one file (`third_family.py`) and one registry entry: everything else serves it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from runner_helpers import choice, rows, videos_with
from third_family import Qwen2VLHermes, random_model
from tiny import (
    TOLERANCE,
    ask,
    assert_same,
    contents,
    largest_error,
    open_stream,
    random_frames,
    watch,
)

from hermes import POLICIES
from inference import load_model, load_stream, save_stream
from inference.checkpoints.registry import FAMILIES
from scripts import tiny_checkpoints
from video_qa.hermes_vqa import main as worker_main

QUESTION = "\nWhat moved?<|im_end|><|im_start|>assistant\n"
SIZE = (56, 84)
"""Of the frames in pixels: 2 x 3 merged tokens, so that height and width cannot be mixed up."""
STEP_TOKENS = 2 * 3 + 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(tiny_checkpoints.BUILDERS, "third", random_model)
        return tiny_checkpoints.save_tiny_checkpoint(tmp_path_factory.mktemp("third"), "third")


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FAMILIES, "qwen2_vl", "third_family")  # the one line


@pytest.fixture(scope="module")
def third(folder: Path) -> Qwen2VLHermes:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(FAMILIES, "qwen2_vl", "third_family")
        return load_model(folder, kv_size=24, device="cpu", sample_fps=1)[0]


def _frames(num_frames: int, seed: int = 0):
    return random_frames(num_frames, seed, side=SIZE[1])[:, : SIZE[0]]


@torch.no_grad()
def _own_logits(engine: Qwen2VLHermes, frames, question: str) -> torch.Tensor:
    """transformers' whole model, from token ids and pixels on; it works out positions itself."""
    pixels, (times, height, width) = engine.grid(torch.from_numpy(frames))
    video = "<video>" * (height * width // 4)
    text = engine.init_prompt + f"<|vision_start|>{video}<|vision_end|>" * times + question
    ids = engine.processor.encode(text)[None]
    is_video = ids == engine.model.config.video_token_id
    return engine.model(
        input_ids=ids,
        mm_token_type_ids=2 * is_video.int(),
        pixel_values_videos=pixels,
        video_grid_thw=torch.tensor([[1, height, width]] * times),
    ).logits[0, -len(engine.processor.encode(question)) :]


@pytest.mark.parametrize("chunks", [[12], [4, 4, 4], [2, 6, 4]], ids=str)
@pytest.mark.parametrize("policy", ["hermes", "none", "last_frames"])
def test_equals_the_models_own_forward(third, chunks, policy):
    engine = open_stream(third, kv_size=1000, policy=policy)
    frames, start = _frames(sum(chunks)), 0
    for size in chunks:
        engine.encode_video_chunk(frames[start : start + size])
        engine.predict_and_compress()
        start += size
    if engine.policy.reprefills:
        request = {"question": "", "prompt": QUESTION}
        answer = engine.question_answering(request, max_new_tokens=1, repetition_penalty=1)
        best = int(_own_logits(engine, frames, QUESTION)[-1].argmax())
        assert answer.strip() == engine.processor.decode_raw([best]).strip()
        return
    hidden = engine.read_text(QUESTION, output="all")
    logits = engine.model.lm_head(hidden).detach()
    assert largest_error(logits, _own_logits(engine, frames, QUESTION)) < TOLERANCE


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_every_policy_serves_it(third, policy):
    eager = {"reindex": "eager"}
    engine = open_stream(third, policy=policy, kv_size=3 * STEP_TOKENS, data_set=eager)
    renumbered = evicted = 0
    for step in range(20):
        engine.encode_video_chunk(_frames(4, seed=step))
        engine.predict_and_compress()
        engine.memory.check_integrity(engine.max_positions)
        renumbered += engine.last_compression.renumbered
        evicted += engine.last_compression.kept is not None
        if step % 8 == 7:
            before = contents(engine)
            ask(engine)
            assert_same(before, contents(engine))
    if engine.policy.evicts:
        assert engine.memory.num_visual <= engine.config.kv_size
        assert renumbered >= 18 and evicted >= 18


def test_it_brings_its_constants(third):
    assert open_stream(third).config.smoothing == (0.0, 0.2, 0.4)
    assert open_stream(third).config.set_by["smoothing"] == "family"
    assert open_stream(third, profile="paper").config.smoothing == (0.1, 0.3, 0.4)
    assert open_stream(third, smoothing=(0.0, 0.0, 0.0)).config.smoothing == (0.0, 0.0, 0.0)


def test_its_streams_are_saved_and_continued(third, tmp_path):
    usual, other = (open_stream(third, kv_size=3 * STEP_TOKENS) for _ in range(2))
    watch(usual, _frames(24))
    save_stream(usual, tmp_path / "stream.safetensors")
    load_stream(other, tmp_path / "stream.safetensors")
    for engine in (usual, other):
        watch(engine, _frames(8, seed=1))
    assert_same(contents(usual), contents(other))


def test_the_runner_takes_it(folder, tmp_path):
    anno_path = videos_with(tmp_path, [[choice("a", 4), choice("b", 16)]])
    command = [f"--model={folder}", f"--anno_path={anno_path}", f"--save_dir={tmp_path / 'out'}"]
    command += ["--device=cpu", "--debug=false", "--max_new_tokens=2", "--kv_size=24"]
    assert worker_main(command) == 0
    assert all(row["error"] is None for row in rows(tmp_path / "out/1_0.jsonl"))
    described = json.loads((tmp_path / "out/1_0.engine.json").read_text())
    assert (described["reindex"], described["set_by"]["reindex"]) == ("eager", "data set")
    assert described["smoothing"] == [0.0, 0.2, 0.4]
