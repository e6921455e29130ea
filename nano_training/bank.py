"""Tokens of every content by degree and quadrant: what streams for the decoder are made of.

Shapes: degrees in the order of `DEGREES`, 4 quadrants, `NUM_CONTENTS`, variants, width.
"""

import torch

from nano_training.charts import make_charts
from nano_training.checkpoint import TOKENS_PER_FRAME
from nano_training.contents import NOTHING, NUM_CONTENTS
from nano_training.eyes import see
from nano_training.files import TrainingError
from video_qa.nanostream.degrees import DEGREES


@torch.no_grad()
def make_bank(model, seed: int, num_charts: int, device: str, processes: int) -> torch.Tensor:
    """fp16 `(degrees, 4, contents, variants, width)`, from rendered and coded frames.

    What a degree does not have stands there as an empty quadrant.

    Raises:
        TrainingError: too few charts to show every thing in every place.
    """
    cells = []
    for chart in make_charts(seed, num_charts, processes).values():
        tokens = torch.cat([see(model, part.to(device)).cpu() for part in chart.pixels.split(512)])
        cells.append(_by_content(tokens.half(), chart.contents))
    variants = min(len(cell) for row in cells for cell in row)
    if variants == 0:
        raise TrainingError(f"{num_charts} charts do not show every thing everywhere: raise it")
    bank = torch.stack([torch.stack([cell[:variants] for cell in row]) for row in cells])
    return bank.view(len(DEGREES), TOKENS_PER_FRAME, NUM_CONTENTS, variants, -1)


def _by_content(tokens: torch.Tensor, contents: torch.Tensor) -> list[torch.Tensor]:
    """The tokens of each quadrant and content, in that order."""
    rows = []
    for place in range(TOKENS_PER_FRAME):
        found = [tokens[contents[:, place] == number, place] for number in range(NUM_CONTENTS)]
        rows += [
            cell if len(cell) or number in range(NOTHING) else found[NOTHING]
            for number, cell in enumerate(found)
        ]
    return rows


def draw_tokens(
    bank: torch.Tensor, degree: torch.Tensor, contents: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Draw one variant of every token, on the device of the bank.

    Args:
        degree: Number of the degree of each stream, long `(batch,)`.
        contents: Long `(batch, frames, 4)`.

    Returns:
        Float `(batch, 4 * frames, width)`.
    """
    variant = torch.randint(bank.shape[3], contents.shape, generator=generator).to(bank.device)
    place = torch.arange(TOKENS_PER_FRAME, device=bank.device).expand_as(contents)
    tokens = bank[degree[:, None, None].expand_as(contents), place, contents, variant]
    return tokens.flatten(1, 2).float()
