"""Features of frames = those of the installed transformers' own `get_video_features`."""

from __future__ import annotations

import copy

import pytest
import torch
from tiny import TOLERANCE, largest_error, random_frames

from inference.llavaov_hermes import frame_features
from inference.vision.frames import patchify, pixels, smart_size


def _llava_images(engine, num_frames: int) -> torch.Tensor:
    config = engine.processor.pixels
    return pixels(torch.from_numpy(random_frames(num_frames)), config.size, config, engine.device)


def _own_llava_features(model, images: torch.Tensor) -> torch.Tensor:
    """(q, e): visual tokens alone; the newline token that some versions append is told by value."""
    tokens = model.get_video_features(images[None]).pooler_output[0]
    ends_with_newline = torch.equal(tokens[-1], model.image_newline.to(tokens))
    return tokens[:-1] if ends_with_newline else tokens


@pytest.mark.parametrize("num_frames", [1, 3])
@torch.no_grad()
def test_llava_features_are_transformers_own(load, num_frames):
    engine = load("llava")
    images = _llava_images(engine, num_frames)
    theirs = _own_llava_features(engine.model.model, images)
    ours = engine.get_video_features(torch.from_numpy(random_frames(num_frames)))
    assert len(ours) == num_frames * engine.tokens_per_step()
    assert largest_error(ours, theirs) < TOLERANCE


@pytest.mark.parametrize("layer", [-1, -2, 1])
@torch.no_grad()
def test_the_layer_of_the_configuration_is_read(load, layer):
    """Another layer is another feature, and the same one as in transformers."""
    model = copy.deepcopy(load("llava").model.model)
    model.config.vision_feature_layer = layer
    images = _llava_images(load("llava"), 2)
    ours = frame_features(model, images).flatten(0, 1)
    assert largest_error(ours, _own_llava_features(model, images)) < TOLERANCE
    if layer != -1:
        last = frame_features(load("llava").model.model, images).flatten(0, 1)
        assert largest_error(ours, last) > 100 * TOLERANCE


class _Parts:
    """A tower with a class token before its patches, and two layers to choose from."""

    def __init__(self, layers: int | list[int], strategy: str) -> None:
        self.config = type("Config", (), {})()
        self.config.vision_feature_layer = layers
        self.config.vision_feature_select_strategy = strategy
        self.states = tuple(torch.full((1, 5, 2), float(n)) for n in range(3))

    def vision_tower(self, images: torch.Tensor, output_hidden_states: bool) -> object:
        assert output_hidden_states
        return type("Output", (), {"hidden_states": self.states})()

    def multi_modal_projector(self, states: torch.Tensor) -> torch.Tensor:
        return states

    apply_pooling = multi_modal_projector


def test_the_class_token_is_left_out_and_layers_are_put_side_by_side():
    both = frame_features(_Parts([0, 2], "default"), torch.zeros(1))
    assert both.shape == (1, 4, 4)
    assert both[0, 0].tolist() == [0, 0, 2, 2]
    assert frame_features(_Parts(1, "full"), torch.zeros(1)).shape == (1, 5, 2)


@pytest.mark.parametrize("num_frames", [2, 5])
@torch.no_grad()
def test_qwen_features_are_the_towers_own(load, num_frames):
    """The tower itself, past the `get_video_features` around it (a tuple, one entry per video)."""
    engine = load("qwen")
    frames = torch.from_numpy(random_frames(num_frames))
    config = engine.processor.pixels
    rows, grid = patchify(
        pixels(frames, smart_size(*frames.shape[1:3], config), config, engine.device), config
    )
    output = engine.model.model.visual(rows, grid_thw=torch.tensor([grid], device=engine.device))
    ours, our_grid = engine.get_video_features(frames)
    assert our_grid == grid
    num_tokens = grid[0] * grid[1] * grid[2] // config.merge_size**2
    assert ours.shape == (num_tokens, output.pooler_output.shape[-1])
    assert largest_error(ours, output.pooler_output) < TOLERANCE
