"""Pixels against transformers' own processors; the patch convolution as a matrix product."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import Qwen2VLImageProcessorPil, SiglipImageProcessorPil

from inference import FrameError, llavaov_hermes, qwenvl_hermes
from inference.vision.frames import PixelConfig, patchify, pixels, resize, smart_size
from inference.vision.qwen_vision import PatchLinear

CPU = torch.device("cpu")
SIZES = [(384, 384), (720, 1280), (100, 60), (56, 56), (380, 400)]
"""Pillow 13 takes the height first where that is less work (fewer rows, more columns): not here."""
VISION = SimpleNamespace(patch_size=14, temporal_patch_size=2, spatial_merge_size=2, image_size=384)
LEVEL = 1 / 255
ROUNDING = 1e-6
"""Of normalised pixels, in fp32; their levels are the same."""


def _picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """(1, H, W, 3) uint8: gradients, an edge, and some noise."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    base = np.stack((y * 255 // height, x * 255 // width, 255 * (x > y)), -1)
    noise = generator.integers(-20, 21, base.shape)
    return np.clip(base + noise, 0, 255).astype(np.uint8)[None]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_llava_pixels(size):
    files = {"size": {"height": 384, "width": 384}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    config = llavaov_hermes.pixel_config(files, SimpleNamespace(vision_config=VISION), None)
    processor = SiglipImageProcessorPil(size=files["size"])
    frame = _picture(*size)
    expected = processor(list(frame), return_tensors="pt")["pixel_values"]
    ours = pixels(torch.from_numpy(frame), (384, 384), config, CPU)
    assert ours.shape == expected.shape == (1, 3, 384, 384)
    assert (ours - expected).abs().max() <= ROUNDING


@pytest.mark.parametrize("size", [(56, 56), (280, 140), (98, 120), (20, 33), (700, 420)], ids=str)
@pytest.mark.parametrize("limits", [(3136, 12_845_056), (50_176, 100_352)], ids=str)
def test_qwen_pixels_patches_and_grid(size, limits):
    processor = Qwen2VLImageProcessorPil(min_pixels=limits[0], max_pixels=limits[1])
    files = {"min_pixels": limits[0], "max_pixels": limits[1]}
    config = qwenvl_hermes.pixel_config(files, SimpleNamespace(vision_config=VISION), None)
    frame = _picture(*size)
    expected = processor(list(frame), return_tensors="pt")
    images = pixels(torch.from_numpy(frame), smart_size(*size, config), config, CPU)
    rows, grid = patchify(images, config)
    assert list(grid) == expected["image_grid_thw"][0].tolist()
    assert rows.shape == expected["pixel_values"].shape
    assert (rows - expected["pixel_values"]).abs().max() <= ROUNDING
    assert limits[0] <= math.prod(grid) * 14 * 14 <= limits[1]


def test_video_patches_hold_two_frames_each():
    config = PixelConfig((0.0,) * 3, (1.0,) * 3, rescale_factor=1.0)
    frames = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 3, 56, 56)
    rows, grid = patchify(frames, config)
    assert grid == (2, 4, 4)
    steps = rows.view(2, 16, 3, 2, 14, 14)
    assert [steps[t, ..., p, :, :].unique().tolist() for t in (0, 1) for p in (0, 1)] == [
        [0.0],
        [1.0],
        [2.0],
        [2.0],  # an odd chunk repeats its last frame
    ]


def _as_pillow(frame: np.ndarray, size: tuple[int, int], filter_number: int) -> np.ndarray:
    """Width first and then height, whatever the order of this version of Pillow."""
    wide = Image.fromarray(frame).resize((size[1], frame.shape[0]), filter_number)
    return np.asarray(wide.resize(size[::-1], filter_number))


_SIDE = st.one_of(st.integers(1, 12), st.integers(1, 300))


@settings(max_examples=80, deadline=None)
@given(_SIDE, _SIDE, _SIDE, _SIDE, st.sampled_from([2, 3]), st.booleans())
def test_resizing_gives_the_bytes_of_pillow(rows, columns, height, width, filter_number, sharp):
    """Up and down, by any factor; `sharp` edges overshoot and are clipped after each pass."""
    seed = [rows, columns, height, width]
    frames = np.random.default_rng(seed).integers(0, 256, (2, rows, columns, 3), dtype=np.uint8)
    if sharp:
        frames = (frames > 127).astype(np.uint8) * 255
    ours = resize(torch.from_numpy(frames).permute(0, 3, 1, 2), (height, width), filter_number)
    expected = [_as_pillow(frame, (height, width), filter_number) for frame in frames]
    assert ours.dtype == torch.uint8
    assert np.array_equal(ours.permute(0, 2, 3, 1), expected)


@pytest.mark.parametrize("size", [(720, 1280), (1080, 1920), (240, 426)], ids=str)
def test_video_sizes_give_the_bytes_of_pillow(size):
    frame = _picture(*size)
    ours = resize(torch.from_numpy(frame).permute(0, 3, 1, 2), (384, 384), 3)
    assert np.array_equal(ours[0].permute(1, 2, 0), _as_pillow(frame[0], (384, 384), 3))


@pytest.mark.parametrize("size", [*SIZES, (385, 383), (400, 380), (90, 131)], ids=str)
def test_resizing_equals_torchs_kernel_for_bytes(size):
    """What torchvision's video processors use; it rounds twice, so two levels are possible."""
    levels = torch.from_numpy(_picture(*size)).permute(0, 3, 1, 2)
    expected = torch.nn.functional.interpolate(
        levels.contiguous(memory_format=torch.channels_last),
        (384, 384),
        mode="bicubic",
        antialias=True,
    )
    error = (resize(levels, (384, 384), 3).float() - expected).abs()
    assert error.max() <= 2
    assert error.mean() < 0.1


@given(
    st.integers(1, 3000),
    st.integers(1, 3000),
    st.integers(4, 400),
    st.integers(1, 30),
)
def test_smart_size_keeps_its_promises(height, width, low, factor):
    """Multiples of 28, within the pixel limits, as close to the frame as the grid allows."""
    config = PixelConfig(
        (0.0,) * 3, (1.0,) * 3, min_pixels=low * 784, max_pixels=low * factor * 784
    )
    if max(height, width) > 200 * min(height, width):
        with pytest.raises(FrameError, match="elongated"):
            smart_size(height, width, config)
        return
    rows, columns = (side / 28 for side in smart_size(height, width, config))
    assert rows == int(rows) >= 1
    assert columns == int(columns) >= 1
    plain = [max(1, round(side / 28)) for side in (height, width)]
    area = plain[0] * plain[1]
    if low <= area <= low * factor:
        assert [rows, columns] == plain
    elif area > low * factor:
        scale = math.sqrt(low * factor * 784 / (height * width))
        expected = [max(1, math.floor(side * scale / 28 + 1e-9)) for side in (height, width)]
        assert [rows, columns] == pytest.approx(expected, abs=1)
        assert rows * columns <= low * factor or 1 in (rows, columns)
    else:
        assert rows * columns >= low


def test_max_pixels_caps_a_frame():
    model_config = SimpleNamespace(vision_config=VISION)
    config = qwenvl_hermes.pixel_config({"min_pixels": 3136}, model_config, 28 * 28 * 4)
    height, width = smart_size(1080, 1920, config)
    assert height * width <= 28 * 28 * 4
    assert qwenvl_hermes.pixel_config({}, model_config, 784).min_pixels == 784


def test_the_resampling_filter_is_that_of_the_files():
    model_config = SimpleNamespace(vision_config=VISION)
    for family in (llavaov_hermes, qwenvl_hermes):
        found = [family.pixel_config({"resample": i}, model_config, None).resample for i in (0, 2)]
        assert found == [0, 2]
        assert family.pixel_config({}, model_config, None).resample == 3
        with pytest.raises(ValueError, match="resample 1"):
            family.pixel_config({"resample": 1}, model_config, None)


@pytest.mark.parametrize("bias", [False, True])
def test_patch_linear_equals_the_convolution(bias):
    torch.manual_seed(0)
    convolution = torch.nn.Conv3d(3, 32, (2, 14, 14), stride=(2, 14, 14), bias=bias)
    patches = torch.randn(10, 3, 2, 14, 14)
    expected = convolution(patches)
    ours = PatchLinear(convolution)(patches)
    assert ours.shape == expected.shape
    assert torch.allclose(ours, expected, atol=1e-5)


def test_video_processors_agree(base):
    """transformers' video processors resize with torchvision; this runs where it is installed."""
    pytest.importorskip("torchvision", reason="torchvision is not installed (it must not be here)")
    import transformers

    frames = torch.from_numpy(np.concatenate([_picture(90, 131, seed) for seed in range(4)]))
    config = base.processor.pixels
    plain = {"do_sample_frames": False, "return_tensors": "pt", "image_mean": list(config.mean)}
    plain["image_std"] = list(config.std)
    if base.family == "llava":
        processor = transformers.LlavaOnevisionVideoProcessor()
        size = {"height": config.size[0], "width": config.size[1]}
        expected = processor(frames, size=size, **plain)["pixel_values_videos"][0]
        ours = pixels(frames, config.size, config, CPU)
    else:
        processor = transformers.Qwen2VLVideoProcessor()
        size = {"shortest_edge": config.min_pixels, "longest_edge": config.max_pixels}
        output = processor(frames, size=size, cap_pixels_per_frame=False, **plain)
        expected = output["pixel_values_videos"]
        ours, _ = patchify(pixels(frames, smart_size(90, 131, config), config, CPU), config)
    assert (ours - expected).abs().max() <= LEVEL / min(config.std) * 1.01
