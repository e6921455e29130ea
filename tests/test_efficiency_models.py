"""Models of the real size: parameters as published, every module found, on the meta device."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from efficiency.models.random_model import build, num_parameters, random_engine, shape_of
from efficiency.models.shapes import SHAPES
from efficiency.question import question_of
from inference.answers.prompts import guidance_texts
from inference.checkpoints.models import MODELS
from inference.checkpoints.registry import FAMILIES

PUBLISHED = {"llava_ov_0.5b": 894e6, "llava_ov_7b": 8.03e9, "llava_ov_72b": 73.2e9}
"""To as many digits as the hub gives."""


@pytest.mark.parametrize("key", SHAPES)
def test_parameters_are_as_many_as_published(key):
    shape = SHAPES[key]
    found = num_parameters(build(shape, "meta", torch.float16))
    assert found == shape.num_parameters
    if shape.digits is not None:
        assert float(f"{found:.{shape.digits}g}") == PUBLISHED[key]


def test_every_key_that_has_a_checkpoint_elsewhere_has_a_shape():
    assert {key for key, entry in MODELS.items() if entry.hub_id} <= set(SHAPES)


@pytest.mark.parametrize("key", [k for k, s in SHAPES.items() if s.model_type in FAMILIES])
def test_the_engine_finds_all_modules(key):
    shape = SHAPES[key]
    engine = random_engine(shape, "meta", torch.bfloat16, kv_size=4000, policy="hermes")
    text = shape.text
    assert len(engine.decoder.layers) == text["num_hidden_layers"]
    assert engine.max_positions == text["max_position_embeddings"]
    assert engine.dtype == torch.bfloat16 and engine.device.type == "meta"
    attention = engine.language_model.layers[0].self_attn
    width = attention.head_dim
    assert attention.q_proj.weight.shape[0] == width * text["num_attention_heads"]
    assert attention.k_proj.weight.shape[0] == width * text["num_key_value_heads"]
    assert engine.model.lm_head.weight.shape == (text["vocab_size"], text["hidden_size"])
    rope = engine.text_config.rope_parameters
    assert rope["rope_theta"] == text["rope_parameters"]["rope_theta"]


def test_a_frame_of_llava_has_196_tokens_and_a_chunk_of_texts_its_usual_length():
    engine = random_engine(SHAPES["llava_ov_0.5b"], "meta", torch.float16, kv_size=4000)
    assert engine.tokens_per_step() == 196
    assert len(engine.processor.encode(engine.init_prompt)) == 13  # as by the Qwen tokenizer
    lengths = {name: len(engine.processor.encode(t)) for name, t in guidance_texts().items()}
    assert lengths == {"local": 21, "global": 20, "mixed": 42, "template": 4}
    assert len(engine.processor.encode(question_of(engine.processor, 300))) == 300


def test_weights_are_drawn_on_the_device_in_the_dtype():
    small = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 99}
    shape = SHAPES["llava_ov_0.5b"]
    tower = {"model_type": "siglip_vision_model", "hidden_size": 64, "intermediate_size": 64}
    tower |= {"num_hidden_layers": 1, "num_attention_heads": 4, "image_size": 56, "patch_size": 14}
    tiny = replace(
        shape,
        text={**shape.text, **small, "intermediate_size": 64},
        vision={**tower, "vision_use_head": False},
    )
    engine = random_engine(tiny, "cpu", torch.bfloat16, kv_size=40)
    engine.encode_video_chunk(torch.zeros(2, 56, 56, 3, dtype=torch.uint8))
    hidden = engine.read_text("what", output="last")
    assert hidden is not None and hidden.dtype == torch.bfloat16
    assert hidden.isfinite().all() and hidden.std() > 0


def test_an_unknown_key_is_refused():
    with pytest.raises(ValueError, match=r"no shape is known for 'nano'; known: llava_ov_0\.5b"):
        shape_of("nano")
