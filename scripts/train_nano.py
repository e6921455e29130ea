"""Train hermes-nano from nothing: tokenizer, eyes, then the decoder on packed questions.

    python scripts/train_nano.py --minutes 55 --work build/nano --out models/hermes-nano

Seeded and resumable: the same command continues from the last checkpoint in `--work`.
"""

import argparse
import math
import os
import sys
import time
from pathlib import Path

import torch
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.nano import checkpoint, eyes
from scripts.nano.decoder import IGNORE, gather_tokens, hidden_states, losses
from scripts.nano.packs import TASK_NAMES, PackMaker
from scripts.nano.tokenizer import train_tokenizer

# (share of the schedule at which the stage ends, frames per stream, packs per batch)
STAGES = ((0.07, 0, 32), (0.27, 12, 28), (0.55, 24, 24), (0.78, 48, 20), (1.0, 64, 18))
LEARNING_RATE = 1.2e-3
WARMUP_STEPS = 100
SAVE_SECONDS = 120
EVALUATION_SEED = 1 << 40  # far from every training seed


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=55, help="decoder training time")
    parser.add_argument("--work", type=Path, default=Path("build/nano"), help="checkpoints")
    parser.add_argument("--out", type=Path, default=Path("models/hermes-nano"), help="result")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--eye_states", type=int, default=3000, help="scenes shown to the eyes")
    parser.add_argument("--eye_steps", type=int, default=900)
    parser.add_argument("--bank_states", type=int, default=2000, help="scenes of the token bank")
    return parser.parse_args(argv)


def save_whole(content: dict, path: Path) -> None:
    """Write next to `path`, then rename: no half-written checkpoint is taken for a whole one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    torch.save(content, part)
    os.replace(part, path)


def get_eyes(model, args: argparse.Namespace) -> torch.Tensor:
    """Load or train the eyes; returns the token bank."""
    path = args.work / "eyes.pt"
    tower, projector = model.model.vision_tower, model.model.multi_modal_projector
    if not path.exists():
        score = eyes.train_eyes(model, args.eye_steps, args.eye_states, args.seed + 3, args.device)
        print(f"eyes: {score:.4f} of held-out tokens read without error", flush=True)
        bank = eyes.make_bank(model, args.seed + 77, args.bank_states, args.device)
        parts = {"tower": tower.state_dict(), "projector": projector.state_dict()}
        save_whole(parts | {"bank": bank, "score": score}, path)
    saved = torch.load(path, weights_only=True, map_location=args.device)
    tower.load_state_dict(saved["tower"])
    projector.load_state_dict(saved["projector"])
    return saved["bank"].cpu()


def stage_at(progress: float) -> tuple[int, int]:
    return next((frames, packs) for end, frames, packs in STAGES if progress <= end)


def learning_rate(step: int, progress: float) -> float:
    warm = min(1.0, (step + 1) / WARMUP_STEPS)
    return LEARNING_RATE * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))


def look(batch, bank: torch.Tensor, seed: int, device: str) -> torch.Tensor:
    if batch.contents.shape[1] == 0:
        return torch.zeros(len(batch.contents), 0, bank.shape[-1], device=device)
    generator = torch.Generator().manual_seed(seed)
    return gather_tokens(bank, batch.contents, generator).to(device)


@torch.no_grad()
def evaluate(model, maker: PackMaker, bank, frames: int, num_packs: int, device: str) -> dict:
    """Share of answers with every token right, by task."""
    batch = maker.make_batch(EVALUATION_SEED + frames, frames, num_packs).to(device)
    visual = look(batch, bank, EVALUATION_SEED, device)
    hidden = hidden_states(model.model.language_model, visual, batch)
    right = (model.lm_head(hidden).argmax(-1) == batch.targets) | (batch.targets == IGNORE)
    scores: dict[str, list[bool]] = {}
    asked = batch.targets != IGNORE
    for row in range(num_packs):
        for number in batch.segment[row][asked[row]].unique():
            mine = batch.segment[row] == number
            name = TASK_NAMES[int(batch.task[row][mine][0])]
            scores.setdefault(name, []).append(bool(right[row][mine].all()))
    return {name: (sum(s) / len(s), len(s)) for name, s in sorted(scores.items())}


def report(scores: dict, frames: int) -> None:
    words = " | ".join(f"{name} {100 * s:.0f} ({n})" for name, (s, n) in scores.items())
    print(f"evaluation at {frames} frames: {words}", flush=True)


def train_decoder(model, tokenizer, bank: torch.Tensor, args: argparse.Namespace) -> None:
    maker = PackMaker(tokenizer)
    set_head = torch.nn.Linear(checkpoint.TEXT_WIDTH, eyes.NOTHING).to(args.device)
    language_model = model.model.language_model
    parameters = [*language_model.parameters(), *set_head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=0.05)
    path, step, spent = args.work / "decoder.pt", 0, 0.0
    if path.exists():
        saved = torch.load(path, weights_only=True, map_location=args.device)
        language_model.load_state_dict(saved["model"])
        set_head.load_state_dict(saved["set_head"])
        optimizer.load_state_dict(saved["optimizer"])
        step, spent = saved["step"], saved["spent"]
        print(f"continuing at step {step}, {spent / 60:.1f} minutes", flush=True)
    budget, last_save = args.minutes * 60, spent
    progress_bar = tqdm(total=round(budget), initial=round(spent), unit="s", mininterval=30)
    while spent < budget:
        began = time.monotonic()
        frames, packs = stage_at(spent / budget)
        batch = maker.make_batch(args.seed * 10**9 + step, frames, packs).to(args.device)
        visual = look(batch, bank, step, args.device)
        words, sets = losses(model, set_head, hidden_states(language_model, visual, batch), batch)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, spent / budget)
        optimizer.zero_grad()
        (words + 0.3 * sets).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if step % 50 == 0:
            print(f"step {step} {frames} frames: {words:.3f} sets {sets:.3f}", flush=True)
        step += 1
        if spent - last_save > SAVE_SECONDS:
            state = {"model": language_model.state_dict(), "set_head": set_head.state_dict()}
            state |= {"optimizer": optimizer.state_dict(), "step": step, "spent": spent}
            save_whole(state, path)
            report(evaluate(model, maker, bank, frames or 12, 12, args.device), frames or 12)
            last_save = spent
        seconds = time.monotonic() - began
        spent += seconds
        progress_bar.update(round(spent) - progress_bar.n)
    report(evaluate(model, maker, bank, checkpoint.TRAINED_FRAMES, 120, args.device), 64)


def main(argv: list[str] | None = None) -> int:
    args = parse_arguments(argv)
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        print("--device cuda: this machine has no CUDA device; use --device cpu", file=sys.stderr)
        return 2
    torch.set_num_threads(args.threads)
    tokenizer = train_tokenizer(args.seed)
    model = checkpoint.make_model(tokenizer, args.seed).to(args.device)
    bank = get_eyes(model, args)
    train_decoder(model, tokenizer, bank, args)
    checkpoint.save(model, tokenizer, args.out)
    print(f"saved {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
