"""Train hermes-nano from nothing: tokenizer, eyes, then the decoder on packed questions.

    python scripts/train_nano.py --work build/nano --out models/hermes-nano

On streams of all degrees. Seeded and resumable: the same command continues from the last checkpoint
in `--work`.
"""

import argparse
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from nano_training import checkpoint
from nano_training.decoder_run import DecoderRun
from nano_training.files import TrainingError, load_whole, save_whole
from nano_training.sight import bank, eyes
from nano_training.tokenizer import train_tokenizer


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=3600, help="of the decoder's training")
    parser.add_argument(
        "--minutes", type=float, default=280, help="of the decoder's training, where they end first"
    )
    parser.add_argument("--work", type=Path, default=Path("build/nano"), help="checkpoints")
    parser.add_argument("--out", type=Path, default=Path("models/hermes-nano"), help="result")
    parser.add_argument("--seed", type=int, default=0, help="of weights, frames and streams")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument(
        "--processes", type=int, default=0, help="that make batches ahead; 0: this one, when needed"
    )
    parser.add_argument(
        "--eye_charts", type=int, default=60, help="100 frames each, of each degree"
    )
    parser.add_argument("--eye_steps", type=int, default=5000, help="batches of 128 frames")
    parser.add_argument("--bank_charts", type=int, default=80, help="for the token bank")
    parser.add_argument("--save_seconds", type=float, default=120, help="between two checkpoints")
    parser.add_argument(
        "--evaluation_streams", type=int, default=120, help="streams of the last evaluation"
    )
    return parser.parse_args(argv)


def get_eyes(model, args: argparse.Namespace) -> torch.Tensor:
    """Load or train the eyes; returns the token bank."""
    path = args.work / "eyes.pt"
    tower, projector = model.model.vision_tower, model.model.multi_modal_projector
    if not path.exists():
        processes = args.processes or args.threads
        scores = eyes.train_eyes(
            model, args.eye_steps, args.eye_charts, args.seed + 3, args.device, processes
        )
        print(f"eyes, share of held-out tokens read without error: {scores}", flush=True)
        tokens = bank.make_bank(model, args.seed + 77, args.bank_charts, args.device, processes)
        parts = {"tower": tower.state_dict(), "projector": projector.state_dict()}
        save_whole(parts | {"bank": tokens, "scores": scores}, path)
    saved = load_whole(path, args.device)
    tower.load_state_dict(saved["tower"])
    projector.load_state_dict(saved["projector"])
    return saved["bank"]


def train(model, tokenizer, args: argparse.Namespace) -> None:
    run = DecoderRun(model, tokenizer, get_eyes(model, args), args)
    run.load()
    run.run()
    checkpoint.save(model, tokenizer, args.out)
    print(f"saved {args.out}")


def main(argv: list[str] | None = None) -> int:
    args = parse_arguments(argv)
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        print("--device cuda: this machine has no CUDA device; use --device cpu", file=sys.stderr)
        return 2
    torch.set_num_threads(args.threads)
    torch.set_float32_matmul_precision("high")  # changes nothing on a CPU
    tokenizer = train_tokenizer(args.seed)
    model = checkpoint.make_model(tokenizer, args.seed).to(args.device)
    try:
        train(model, tokenizer, args)
    except KeyboardInterrupt:
        print("interrupted; the same command continues from the last checkpoint", file=sys.stderr)
        return 130
    except (OSError, TrainingError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
