"""What transformers makes of a video for Qwen3-VL: its processor's text, its model's positions.

Nothing here uses our prompt strings, chunks or position rules.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
from tiny import random_frames
from torch import Tensor
from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor

from inference.vision.frames import patchify, pixels

SIZE = (56, 84)
"""Of the frames in pixels: 4 x 6 merged tokens, so that height and width cannot be mixed up."""
GRID = (4, 6)
FPS = 2.0
QUESTION = "\nWhat moved?<|im_end|><|im_start|>assistant\n"


def frames_of(num_frames: int, seed: int = 0) -> np.ndarray:
    """(f, *SIZE, 3) noise."""
    return random_frames(num_frames, seed, side=SIZE[1])[:, : SIZE[0]]


def video_text(num_frames: int, first: int = 0) -> str:
    """The processor's own expansion of a video that begins `first` frames into the stream."""
    own = SimpleNamespace(
        video_processor=SimpleNamespace(merge_size=1, temporal_patch_size=2),
        vision_start_token="<|vision_start|>",
        vision_end_token="<|vision_end|>",
        video_token="<video>",
    )
    own._calculate_timestamps = lambda *args: Qwen3VLProcessor._calculate_timestamps(own, *args)
    metadata = SimpleNamespace(fps=FPS, frames_indices=list(range(first, first + num_frames)))
    grid = torch.tensor([[-(-num_frames // 2), *GRID]])
    inputs = {"video_grid_thw": grid, "video_metadata": [metadata]}
    return Qwen3VLProcessor.replace_video_token(own, inputs, 0)


def template(video: str, question: str, *, outer: bool) -> str:
    """The chat template's user turn around a video; older processors ate the outer marks."""
    if outer:
        video = f"<|vision_start|>{video}<|vision_end|>"
    return f"<|im_start|>user\n{video}{question}"


def pixel_rows(engine: Any, frames: np.ndarray) -> tuple[Tensor, Tensor]:
    """Rows of pixels and (1, 3) grid; pixels are compared in test_qwen3_pixels."""
    config = engine.processor.pixels
    rows, grid = patchify(pixels(torch.from_numpy(frames), SIZE, config, engine.device), config)
    return rows, torch.tensor([grid]).to(engine.device)


@torch.no_grad()
def own_logits(engine: Any, frames: np.ndarray, question: str, *, outer: bool = True) -> Tensor:
    """(question tokens, vocabulary) of transformers' whole model, from token ids and pixels on."""
    text = template(video_text(len(frames)), question, outer=outer)
    ids = engine.processor.encode(text)[None].to(engine.device)
    rows, grid = pixel_rows(engine, frames)
    logits = engine.model(
        input_ids=ids,
        mm_token_type_ids=2 * (ids == engine.model.config.video_token_id).int(),
        pixel_values_videos=rows.to(engine.dtype),
        video_grid_thw=grid,
    ).logits[0]
    return logits[-len(engine.processor.encode(question)) :]


class Piece(NamedTuple):
    """Text or a chunk as transformers' text model takes it."""

    embeddings: Tensor
    """(q, e)."""
    is_picture: Tensor
    """(q,) bool."""
    depths: list[Tensor]
    """(picture tokens, e) of each tapped depth."""
    offsets: np.ndarray
    """(3, q) positions, counted from the first."""


@torch.no_grad()
def text_piece(engine: Any, text: str) -> Piece:
    """Text without pictures."""
    ids = engine.processor.encode(text).to(engine.device)
    embeddings = engine.model.get_input_embeddings()(ids).detach()
    places = np.array([range(len(ids))] * 3)
    return Piece(embeddings, torch.zeros(len(ids), dtype=torch.bool), [], places)


@torch.no_grad()
def chunk_piece(engine: Any, frames: np.ndarray, first: int) -> Piece:
    """Frames from number `first` of the stream on."""
    ids = engine.processor.encode(video_text(len(frames), first))
    is_picture = ids == engine.model.config.video_token_id
    rows, grid = pixel_rows(engine, frames)
    seen = engine.model.model.get_video_features(rows.to(engine.dtype), grid)
    embeddings = engine.model.get_input_embeddings()(ids.to(engine.device)).detach().clone()
    embeddings[is_picture.to(engine.device)] = seen.pooler_output[0]
    depths = [  # transformers 5.17 does not part them by videos
        depth if isinstance(depth, Tensor) and depth.dim() == 2 else depth[0]
        for depth in seen.deepstack_features
    ]
    return Piece(embeddings, is_picture, depths, _offsets(is_picture.tolist()))


def _offsets(is_picture: list[bool]) -> np.ndarray:
    """Text advances all axes by one, a grid by its longer side."""
    places, following, patch = [], 0, 0
    for picture in is_picture:
        if picture:
            y, x = divmod(patch, GRID[1])
            places.append((following, following + y, following + x))
            patch += 1
        else:
            following, patch = following + (max(GRID) if patch else 0), 0
            places.append((following,) * 3)
            following += 1
    return np.array(places).T


def joined(pieces: list[Piece]) -> tuple[Tensor, dict[str, Any]]:
    """(n, e) embeddings of everything and the arguments that go with them."""
    depths = [piece.depths for piece in pieces if piece.depths]
    masks = torch.cat([piece.is_picture for piece in pieces])
    given = {
        "visual_pos_masks": masks[None],
        "deepstack_visual_embeds": [torch.cat(depth) for depth in zip(*depths, strict=True)],
    }
    return torch.cat([piece.embeddings for piece in pieces]), given
