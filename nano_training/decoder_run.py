"""The decoder's training run: schedule, one step, checkpoints."""

import argparse
import math
import time

import torch
from tqdm import tqdm

from nano_training import checkpoint
from nano_training.batches import Order, batches
from nano_training.contents import NOTHING
from nano_training.decoder import Batch, hidden_states, losses
from nano_training.evaluation import evaluate, look, report
from nano_training.files import TrainingError, load_whole, save_whole
from nano_training.packs import PackMaker
from nano_training.syllabus import syllabus_at
from video_qa.nanostream.degrees import DEGREES

# (share of the schedule at which the stage ends, frames per stream, packs per batch)
STAGES = ((0.02, 0, 64), (0.15, 12, 64), (0.35, 24, 60), (0.6, 48, 52), (1.0, 64, 48))
MATRIX_LEARNING_RATE = 6e-3  # Muon's, scaled to AdamW's update size
LEARNING_RATE = 3e-3  # AdamW's: embeddings, biases, norms
WARMUP_STEPS = 40
SET_WEIGHT = 0.3  # of the auxiliary loss where sets are named
HINT_WEIGHT = 0.5  # of the auxiliary loss where options begin


def stage_at(progress: float) -> tuple[int, int]:
    return next((frames, packs) for end, frames, packs in STAGES if progress <= end)


def rate_factor(step: int, progress: float) -> float:
    """Warm-up, then cosine decay to 2 %."""
    warm = min(1.0, (step + 1) / WARMUP_STEPS)
    return warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))


def make_optimizers(decoder, set_head) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for everything else."""
    matrices = [p for p in decoder.layers.parameters() if p.ndim == 2]
    chosen = {id(p) for p in matrices}
    rest = [p for p in (*decoder.parameters(), *set_head.parameters()) if id(p) not in chosen]
    return [
        torch.optim.Muon(
            matrices, lr=MATRIX_LEARNING_RATE, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(rest, lr=LEARNING_RATE, weight_decay=0.05),
    ]


class DecoderRun:
    """The decoder's training: what a checkpoint holds, one step, and the loop."""

    def __init__(self, model, tokenizer, bank: torch.Tensor, args: argparse.Namespace) -> None:
        self.model, self.bank, self.args = model, bank.to(args.device), args
        self.maker = PackMaker(tokenizer)
        self.decoder = model.model.language_model
        self.set_head = torch.nn.Linear(checkpoint.TEXT_WIDTH, NOTHING).to(args.device)
        self.parameters = [*self.decoder.parameters(), *self.set_head.parameters()]
        self.optimizers = make_optimizers(self.decoder, self.set_head)
        self.path = args.work / "decoder.pt"
        self.steps, self.spent_seconds = 0, 0.0

    def load(self) -> None:
        if not self.path.exists():
            return
        saved = load_whole(self.path, self.args.device)
        try:
            self.decoder.load_state_dict(saved["model"])
            self.set_head.load_state_dict(saved["set_head"])
            for optimizer, state in zip(self.optimizers, saved["optimizers"], strict=True):
                optimizer.load_state_dict(state)
        except (RuntimeError, ValueError) as error:
            raise TrainingError(
                f"{self.path} belongs to another model; delete it: {error}"
            ) from error
        self.steps, self.spent_seconds = saved["step"], saved["spent"]
        print(f"continuing at step {self.steps}, {self.spent_seconds / 60:.1f} minutes", flush=True)

    def save(self) -> None:
        state = {
            "model": self.decoder.state_dict(),
            "set_head": self.set_head.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        save_whole(state | {"step": self.steps, "spent": self.spent_seconds}, self.path)

    def progress(self) -> float:
        """Of the schedule, 0 to 1: by steps or by time, whichever is further."""
        return max(self.steps / self.args.steps, self.spent_seconds / (self.args.minutes * 60))

    def order(self, step: int) -> Order:
        return Order(self.args.seed * 10**9 + step, *stage_at(self.progress()), self.progress())

    def step(self, batch: Batch, progress: float) -> None:
        device = self.args.device
        frames, batch = batch.contents.shape[1], batch.to(device)
        visual = look(batch, self.bank, self.steps, device)
        hidden, early = hidden_states(self.decoder, visual, batch)
        parts = losses(self.model, self.set_head, hidden, early, batch)
        factor = rate_factor(self.steps, progress)
        for optimizer in self.optimizers:
            optimizer.param_groups[0]["lr"] = optimizer.defaults["lr"] * factor
            optimizer.zero_grad()
        (parts.words + HINT_WEIGHT * parts.hints + SET_WEIGHT * parts.sets).backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        if self.steps % 50 == 0:
            named = " ".join(f"{name} {value:.3f}" for name, value in parts._asdict().items())
            print(f"step {self.steps} {frames} frames: {named}", flush=True)
        self.steps += 1

    def evaluate(self, frames: int, streams: int) -> None:
        self.maker.syllabus = syllabus_at(0.0)  # evaluations compare
        for degree in DEGREES:
            with self.maker.only(degree):
                scores = evaluate(
                    self.model, self.maker, self.bank, frames, max(1, streams), self.args.device
                )
            report(scores, frames, degree)

    def run(self) -> None:
        """Train until the schedule ends, saving and evaluating on the way and at the end."""
        args, streams, last_save = self.args, self.args.evaluation_streams, self.spent_seconds
        bar = tqdm(total=args.steps, initial=self.steps, unit="step", mininterval=30)
        with batches(self.maker, args.seed, args.processes, self.steps, self.order) as next_batch:
            while (progress := self.progress()) < 1:
                began = time.monotonic()
                self.step(next_batch(), progress)
                self.spent_seconds += time.monotonic() - began
                bar.update()
                if self.spent_seconds - last_save > args.save_seconds:
                    last_save = self.spent_seconds
                    self.save()
                    self.evaluate(stage_at(progress)[0] or STAGES[1][1], streams // 10)
        bar.close()
        self.save()
        print(f"{self.steps} steps in {self.spent_seconds / 60:.1f} minutes", flush=True)
        self.evaluate(checkpoint.TRAINED_FRAMES, streams)
