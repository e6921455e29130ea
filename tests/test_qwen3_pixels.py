"""Qwen3-VL: sizes and pixels of frames, by the rule of transformers' processor for one patch."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from inference.families.qwen3vl_hermes import pixel_config
from inference.vision.frames import patchify, pixels, smart_size

video_processing = import_module("transformers.models.qwen3_vl.video_processing_qwen3_vl")
"""The module itself: by `from ... import` it is refused where there is no torchvision."""
VISION = SimpleNamespace(patch_size=16, temporal_patch_size=2, spatial_merge_size=2)
MODEL = SimpleNamespace(vision_config=VISION)
FILES = {"size": {"shortest_edge": 4096, "longest_edge": 25165824}, "resample": 3}
"""As published with the checkpoints: bounds on the pixels of a whole video."""
CAPPED = 2 * 768 * 32 * 32
"""What `cap_pixels_per_frame` makes of them for a video of one temporal patch."""


def _theirs(height: int, width: int, max_pixels: int = CAPPED) -> tuple[int, int]:
    return video_processing.smart_resize(
        2, height, width, temporal_factor=2, factor=32, min_pixels=4096, max_pixels=max_pixels
    )


STORED = {
    (360, 640): (352, 640),
    (720, 1280): (640, 1152),
    (1080, 1920): (640, 1152),
    (1920, 1080): (1152, 640),
    (48, 64): (64, 64),
    (480, 480): (480, 480),
}
"""Frame -> size in transformers 5.23."""


@pytest.mark.parametrize(("frame", "size"), STORED.items())
def test_stored_sizes(frame, size):
    assert smart_size(*frame, pixel_config(FILES, MODEL, None)) == size


def test_sizes_are_those_of_transformers_for_one_temporal_patch():
    generator, config = np.random.default_rng(0), pixel_config(FILES, MODEL, None)
    for height, width in generator.integers(33, 2200, (300, 2)).tolist():
        assert smart_size(height, width, config) == _theirs(height, width), (height, width)


def test_their_size_depends_on_the_number_of_frames_and_ours_does_not():
    def whole(num_frames):
        return video_processing.smart_resize(
            num_frames, 720, 1280, 2, 32, min_pixels=4096, max_pixels=25165824
        )

    assert whole(2) == (704, 1280) and whole(768) == (128, 224), "a longer video is a smaller one"
    assert smart_size(720, 1280, pixel_config(FILES, MODEL, None)) == (640, 1152)


def test_a_cap_of_the_user_wins():
    config = pixel_config(FILES, MODEL, 100 * 32 * 32)
    height, width = smart_size(1080, 1920, config)
    assert height * width <= 100 * 32 * 32 and (height % 32, width % 32) == (0, 0)
    assert pixel_config({}, MODEL, 1024).min_pixels == 1024


def test_normalisation_without_files():
    config = pixel_config({}, MODEL, None)
    assert config.mean == config.std == (0.5, 0.5, 0.5)
    assert (config.patch_size, config.merge_size, config.temporal_patch_size) == (16, 2, 2)


def test_stored_rows():
    """A 64 x 64 ramp needs no resizing: its rows are (level / 255 - 0.5) / 0.5."""
    ramp = torch.arange(64 * 64 * 3).view(1, 64, 64, 3).remainder(256).to(torch.uint8)
    config = pixel_config(FILES, MODEL, None)
    rows, grid = patchify(pixels(ramp, (64, 64), config, torch.device("cpu")), config)
    assert grid == (1, 4, 4) and rows.shape == (16, 3 * 2 * 16 * 16)
    expected = [(level / 255 - 0.5) / 0.5 for level in (0, 3, 6)]
    assert torch.allclose(rows[0, :3], torch.tensor(expected), atol=1e-6)
    second = (16 * 3) % 256  # the patch to the right of the first
    assert torch.allclose(rows[1, 0], torch.tensor((second / 255 - 0.5) / 0.5), atol=1e-6)


@pytest.mark.skipif(not find_spec("torchvision"), reason="torchvision is not installed")
def test_rows_are_those_of_transformers_video_processor():
    processor = video_processing.Qwen3VLVideoProcessor(size=FILES["size"])
    frames = np.random.default_rng(1).integers(0, 256, (2, 90, 130, 3), dtype=np.uint8)
    theirs = processor(
        [frames], do_sample_frames=False, cap_pixels_per_frame=True, return_tensors="pt"
    )
    config = pixel_config(FILES, MODEL, None)
    size = smart_size(90, 130, config)
    rows, grid = patchify(
        pixels(torch.from_numpy(frames), size, config, torch.device("cpu")), config
    )
    assert theirs["video_grid_thw"].tolist() == [list(grid)]
    assert (rows - theirs["pixel_values_videos"]).abs().max() < 2 / 255 / 0.5
