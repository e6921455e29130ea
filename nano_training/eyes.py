"""The vision tower and projector, trained on single frames; afterwards they stay as they are.

Every one of the four tokens of a frame learns what its quadrant shows. A stream is then put
together from a `FeatureBank` of such tokens, without rendering anything.
"""

import io
import random

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from inference.llavaov_hermes import frame_features
from inference.vision.frames import PixelConfig
from inference.vision.frames import pixels as engine_pixels
from nano_training.checkpoint import EMBEDDING_STD, IMAGE_SIZE, TEXT_WIDTH, TOKENS_PER_FRAME
from video_qa.nanostream.render import render
from video_qa.nanostream.video import FPS, SIZE, encode
from video_qa.nanostream.vocabulary import COLOURS, PLACES, SHAPES
from video_qa.nanostream.world import Scene, State, Thing, World

NOTHING = len(SHAPES) * len(COLOURS)  # the content number of an empty quadrant
CHART_FPS = 2  # frames of one chart state, which lasts a second


def content_number(shape: str, colour: str) -> int:
    """Below `NOTHING`: shape number * 8 + colour number."""
    return SHAPES.index(shape) * len(COLOURS) + COLOURS.index(colour)


def contents(state: State) -> list[int]:
    """What each quadrant holds: a `content_number` or `NOTHING`."""
    numbers = [NOTHING] * TOKENS_PER_FRAME
    for thing in state:
        numbers[PLACES.index(thing.place)] = content_number(thing.shape, thing.colour)
    return numbers


def _random_state(rng: random.Random) -> State:
    count = rng.choice((0, 1, 2, 2, 3, 3, 4))
    picks = [rng.sample(words, count) for words in (SHAPES, COLOURS, PLACES)]
    return tuple(Thing(*words) for words in zip(*picks, strict=True))


def _eye_chart(seed: int, num_states: int) -> World:
    """A stream that is all change: a new state and background every second."""
    rng = random.Random(seed)
    states = tuple(_random_state(rng) for _ in range(num_states))
    scenes = tuple(Scene(i, i + 1, rng.getrandbits(32)) for i in range(num_states))
    return World(seed, states, scenes)


def to_pixels(frames: np.ndarray) -> torch.Tensor:
    """uint8 `(n, H, W, 3)` to the float `(n, 3, 56, 56)` that the tower sees, by the engine."""
    half = (0.5, 0.5, 0.5)
    config = PixelConfig(mean=half, std=half)
    return engine_pixels(
        torch.from_numpy(frames), (IMAGE_SIZE, IMAGE_SIZE), config, torch.device("cpu")
    )


def through_h264(frames) -> np.ndarray:
    import av

    file = io.BytesIO()
    encode(frames, file, FPS, SIZE)
    file.seek(0)
    with av.open(file) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def make_chart_frames(seed: int, num_states: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Encoded and decoded frames, fp16 `(n, 3, 56, 56)`, and their contents, `(n, 4)`."""
    pixels, labels = [], []
    for part in tqdm(range(0, num_states, 50), desc="frames for the eyes", mininterval=10):
        world = _eye_chart(seed * 1_000_003 + part, 50)
        frames = through_h264(render(world, CHART_FPS, SIZE))
        pixels.append(to_pixels(frames).half())
        labels += [contents(world.states[i // CHART_FPS]) for i in range(len(frames))]
    return torch.cat(pixels), torch.tensor(labels)


def see(model, pixels: torch.Tensor) -> torch.Tensor:
    """Tokens of frames: `(n, 3, 56, 56)` to `(n, 4, width)`."""
    return frame_features(model.model, pixels.float())


class Heads(torch.nn.Module):
    """Linear read-outs of one token: shape or nothing, colour or nothing, which quadrant."""

    def __init__(self) -> None:
        super().__init__()
        sizes = (len(SHAPES) + 1, len(COLOURS) + 1, len(PLACES))
        self.heads = torch.nn.ModuleList(torch.nn.Linear(TEXT_WIDTH, size) for size in sizes)

    def forward(self, tokens: torch.Tensor) -> list[torch.Tensor]:
        return [head(F.layer_norm(tokens, (TEXT_WIDTH,))).flatten(0, 1) for head in self.heads]


def head_targets(labels: torch.Tensor) -> list[torch.Tensor]:
    shape = torch.where(labels == NOTHING, len(SHAPES), labels // len(COLOURS))
    colour = torch.where(labels == NOTHING, len(COLOURS), labels % len(COLOURS))
    place = torch.arange(TOKENS_PER_FRAME, device=labels.device).expand_as(labels)
    return [shape.flatten(), colour.flatten(), place.flatten()]


def _mosaic(pixels: torch.Tensor, labels: torch.Tensor, generator) -> tuple:
    """New frames out of quadrants of any frames, some mirrored (every shape is symmetric)."""
    half = IMAGE_SIZE // 2
    cells = pixels.view(-1, 3, 2, half, 2, half).permute(0, 2, 4, 1, 3, 5)
    cells, kinds = cells.reshape(-1, 3, half, half), labels.flatten()
    order = torch.randperm(len(cells), generator=generator).to(cells.device)
    cells, kinds = cells[order], kinds[order]
    mirrored = (torch.rand(len(cells), generator=generator) < 0.5).to(cells.device)
    cells = torch.where(mirrored[:, None, None, None], cells.flip(-1), cells)
    cells = cells.view(-1, 2, 2, 3, half, half).permute(0, 3, 1, 4, 2, 5)
    return cells.reshape(pixels.shape), kinds.view(labels.shape)


def _augment(pixels: torch.Tensor, labels: torch.Tensor, generator) -> tuple:
    """Half of the frames as a mosaic, all shifted by up to two pixels, tinted and noisy."""
    middle = len(pixels) // 2
    mixed, kinds = _mosaic(pixels[:middle], labels[:middle], generator)
    pixels, labels = torch.cat((mixed, pixels[middle:])), torch.cat((kinds, labels[middle:]))
    shift = torch.randint(-2, 3, (2,), generator=generator).tolist()
    padded = F.pad(pixels, (2, 2, 2, 2), mode="replicate")
    top, left = 2 + shift[0], 2 + shift[1]
    pixels = padded[:, :, top : top + IMAGE_SIZE, left : left + IMAGE_SIZE]
    gain = 1 + 0.06 * torch.randn(len(pixels), 3, 1, 1, device=pixels.device)
    return pixels * gain + 0.04 * torch.randn_like(pixels), labels


def train_eyes(model, steps: int, num_states: int, seed: int, device: str) -> float:
    """Train tower and projector; returns the share of held-out tokens read without error."""
    pixels, labels = make_chart_frames(seed, num_states)
    heads = Heads().to(device)
    parts = (model.model.vision_tower, model.model.multi_modal_projector, heads)
    parameters = [p for part in parts for p in part.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    generator = torch.Generator().manual_seed(seed)
    progress = tqdm(range(steps), desc="eyes", mininterval=10)
    for step in progress:
        pick = torch.randint(len(pixels), (128,), generator=generator)
        shown, kinds = pixels[pick].to(device).float(), labels[pick].to(device)
        shown, kinds = _augment(shown, kinds, generator)
        logits, targets = heads(see(model, shown)), head_targets(kinds)
        loss = torch.zeros((), device=device)
        for guess, target in zip(logits, targets, strict=True):
            loss = loss + F.cross_entropy(guess, target)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            progress.write(f"eyes step {step}: loss {loss.item():.3f}")
    _set_scale(model, pixels[:512].to(device))
    return read_accuracy(model, heads, seed + 1, device)


@torch.no_grad()
def _set_scale(model, pixels: torch.Tensor) -> None:
    """Scale the projector's output to the standard deviation of the word embeddings."""
    factor = EMBEDDING_STD / see(model, pixels).std()
    last = model.model.multi_modal_projector.linear_2
    last.weight.mul_(factor)
    last.bias.mul_(factor)


@torch.no_grad()
def read_accuracy(model, heads: Heads, seed: int, device: str) -> float:
    pixels, labels = make_chart_frames(seed, 100)
    logits = heads(see(model, pixels.to(device)))
    right = [x.argmax(-1).cpu() == y for x, y in zip(logits, head_targets(labels), strict=True)]
    return torch.stack(right).all(0).float().mean().item()


@torch.no_grad()
def make_bank(model, seed: int, num_states: int, device: str) -> torch.Tensor:
    """Tokens by quadrant and content, `(4, 65, variants, width)`, from rendered frames."""
    pixels, labels = make_chart_frames(seed, num_states)
    tokens = torch.cat([see(model, part.to(device)).cpu() for part in pixels.split(512)])
    cells = [
        [tokens[labels[:, q] == c, q] for c in range(NOTHING + 1)] for q in range(TOKENS_PER_FRAME)
    ]
    variants = min(len(cell) for row in cells for cell in row)
    if variants == 0:
        raise ValueError(f"{num_states} states do not show every thing everywhere: raise it")
    return torch.stack([torch.stack([cell[:variants] for cell in row]) for row in cells])
