"""Accuracy by task on packs of held-out streams."""

import torch

from nano_training.bank import draw_tokens
from nano_training.decoder import IGNORE, hidden_states
from nano_training.packs import TASK_NAMES, PackMaker

EVALUATION_SEED = 1 << 40  # far from every training seed


def look(batch, bank: torch.Tensor, seed: int, device: str) -> torch.Tensor:
    if batch.contents.shape[1] == 0:
        return torch.zeros(len(batch.contents), 0, bank.shape[-1], device=device)
    generator = torch.Generator().manual_seed(seed)
    return draw_tokens(bank, batch.degree, batch.contents, generator)


@torch.no_grad()
def evaluate(model, maker: PackMaker, bank, frames: int, num_packs: int, device: str) -> dict:
    """Share of answers with every token right, by task."""
    batch = maker.make_batch(EVALUATION_SEED + frames, frames, num_packs).to(device)
    visual = look(batch, bank, EVALUATION_SEED, device)
    hidden, _ = hidden_states(model.model.language_model, visual, batch)
    right = (model.lm_head(hidden).argmax(-1) == batch.targets) | (batch.targets == IGNORE)
    scores: dict[str, list[bool]] = {}
    asked = batch.targets != IGNORE
    for row in range(num_packs):
        for number in batch.segment[row][asked[row]].unique():
            mine = batch.segment[row] == number
            name = TASK_NAMES[int(batch.task[row][mine][0])]
            scores.setdefault(name, []).append(bool(right[row][mine].all()))
    return {name: (sum(s) / len(s), len(s)) for name, s in sorted(scores.items())}


def report(scores: dict, frames: int, degree: str) -> None:
    words = " | ".join(f"{name} {100 * s:.0f} ({n})" for name, (s, n) in scores.items())
    print(f"evaluation at {frames} frames, {degree}: {words}", flush=True)
