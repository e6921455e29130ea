"""The parts of `scripts/train_nano.py`."""
