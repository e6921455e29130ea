"""The vision tower and projector, trained on single frames; afterwards they stay as they are.

Every one of the four tokens of a frame learns what its quadrant shows: which shape in which colour,
or what else, and how it looks. A stream is then put together from a bank of such tokens (bank.py),
without rendering anything.

Shapes: n frames, 4 quadrants and tokens, width 128.
"""

import torch
import torch.nn.functional as F
from tqdm import tqdm

from inference.llavaov_hermes import frame_features
from nano_training.charts import NO_ACCENT, UNTOLD, Chart, joined, make_charts
from nano_training.checkpoint import EMBEDDING_STD, IMAGE_SIZE, TEXT_WIDTH, TOKENS_PER_FRAME
from nano_training.contents import BETWEEN, NOTHING, NUM_CONTENTS
from video_qa.nanostream.picture.look import PATTERNS
from video_qa.nanostream.vocabulary import COLOURS, PLACES, SHAPES

NUM_OTHERS = NUM_CONTENTS - NOTHING - 1  # nothing, and what is neither a thing nor in between
LOOK_WEIGHT = 0.3  # of the loss of pattern and second colour
HELD_OUT_CHARTS = 4


def see(model, pixels: torch.Tensor) -> torch.Tensor:
    """Tokens of frames: `(n, 3, 56, 56)` to `(n, 4, width)`."""
    return frame_features(model.model, pixels.float())


class Heads(torch.nn.Module):
    """Linear read-outs of one token: what it is, its colour, quadrant, pattern, second colour."""

    def __init__(self) -> None:
        super().__init__()
        what, colour = len(SHAPES) + NUM_OTHERS, len(COLOURS) + 1
        sizes = (what, colour, len(PLACES), len(PATTERNS), NO_ACCENT + 1)
        self.heads = torch.nn.ModuleList(torch.nn.Linear(TEXT_WIDTH, size) for size in sizes)

    def forward(self, tokens: torch.Tensor) -> list[torch.Tensor]:
        return [head(F.layer_norm(tokens, (TEXT_WIDTH,))).flatten(0, 1) for head in self.heads]


def head_targets(contents: torch.Tensor) -> list[torch.Tensor]:
    """What, colour, quadrant, each `(4 n,)`; `UNTOLD` in the middle of a change."""
    thing, between = contents < NOTHING, contents == BETWEEN
    what = torch.where(thing, contents // len(COLOURS), contents - NOTHING + len(SHAPES))
    colour = torch.where(thing, contents % len(COLOURS), len(COLOURS))
    place = torch.arange(TOKENS_PER_FRAME, device=contents.device).expand_as(contents)
    return [
        what.masked_fill(between, UNTOLD).flatten(),
        colour.masked_fill(between, UNTOLD).flatten(),
        place.flatten(),
    ]


def _mosaic(chart: Chart, generator) -> Chart:
    """New frames out of quadrants of any frames, some mirrored (which keeps shape and pattern)."""
    half = IMAGE_SIZE // 2
    cells = chart.pixels.view(-1, 3, 2, half, 2, half).permute(0, 2, 4, 1, 3, 5)
    cells = cells.reshape(-1, 3, half, half)
    order = torch.randperm(len(cells), generator=generator).to(cells.device)
    cells = cells[order]
    mirrored = (torch.rand(len(cells), generator=generator) < 0.5).to(cells.device)
    cells = torch.where(mirrored[:, None, None, None], cells.flip(-1), cells)
    cells = cells.view(-1, 2, 2, 3, half, half).permute(0, 3, 1, 4, 2, 5)
    labels = (part.flatten()[order].view(part.shape) for part in chart[1:])
    return Chart(cells.reshape(chart.pixels.shape), *labels)


def _augment(chart: Chart, generator) -> Chart:
    """Half of the frames as a mosaic, all shifted by up to two pixels, tinted and noisy."""
    middle = len(chart.pixels) // 2
    first, second = (Chart(*parts) for parts in zip(*(x.split(middle) for x in chart), strict=True))
    mixed = Chart(
        *(torch.cat(pair) for pair in zip(_mosaic(first, generator), second, strict=True))
    )
    shift = torch.randint(-2, 3, (2,), generator=generator).tolist()
    padded = F.pad(mixed.pixels, (2, 2, 2, 2), mode="replicate")
    top, left = 2 + shift[0], 2 + shift[1]
    pixels = padded[:, :, top : top + IMAGE_SIZE, left : left + IMAGE_SIZE]
    gain = 1 + 0.06 * torch.randn(len(pixels), 3, 1, 1, device=pixels.device)
    return mixed._replace(pixels=pixels * gain + 0.04 * torch.randn_like(pixels))


def _loss(heads: Heads, tokens: torch.Tensor, chart: Chart) -> torch.Tensor:
    logits = heads(tokens)
    targets = [*head_targets(chart.contents), chart.patterns.flatten(), chart.accents.flatten()]
    losses = [
        F.cross_entropy(guess, target, ignore_index=UNTOLD)
        for guess, target in zip(logits, targets, strict=True)
    ]
    return torch.stack(losses[:3]).sum() + LOOK_WEIGHT * torch.stack(losses[3:]).sum()


def train_eyes(
    model, steps: int, num_charts: int, seed: int, device: str, processes: int
) -> dict[str, float]:
    """Train tower and projector on as many charts of each degree.

    Returns the share of held-out tokens read without error, by degree.
    """
    chart = joined(make_charts(seed, num_charts, processes).values())
    heads = Heads().to(device)
    parts = (model.model.vision_tower, model.model.multi_modal_projector, heads)
    parameters = [p for part in parts for p in part.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    generator = torch.Generator().manual_seed(seed)
    progress = tqdm(range(steps), desc="eyes", mininterval=10)
    for step in progress:
        pick = torch.randint(len(chart.pixels), (128,), generator=generator)
        shown = Chart(*(part[pick].to(device) for part in chart))
        shown = _augment(shown._replace(pixels=shown.pixels.float()), generator)
        loss = _loss(heads, see(model, shown.pixels), shown)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            progress.write(f"eyes step {step}: loss {loss.item():.3f}")
    _set_scale(model, chart.pixels[:: len(chart.pixels) // 512].to(device))
    held_out = make_charts(seed + 1, HELD_OUT_CHARTS, processes)
    return {degree: read_accuracy(model, heads, one, device) for degree, one in held_out.items()}


@torch.no_grad()
def _set_scale(model, pixels: torch.Tensor) -> None:
    """Scale the projector's output to the standard deviation of the word embeddings."""
    factor = EMBEDDING_STD / see(model, pixels).std()
    last = model.model.multi_modal_projector.linear_2
    last.weight.mul_(factor)
    last.bias.mul_(factor)


@torch.no_grad()
def read_accuracy(model, heads: Heads, chart: Chart, device: str) -> float:
    """Share of quadrants of which what, colour and place are read without error."""
    logits = heads(see(model, chart.pixels.to(device)))
    targets = head_targets(chart.contents)
    right = [x.argmax(-1).cpu() == y for x, y in zip(logits, targets, strict=False)]
    told = targets[0] != UNTOLD
    return torch.stack(right).all(0)[told].float().mean().item()
