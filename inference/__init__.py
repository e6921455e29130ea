"""Engines: a Hugging Face checkpoint plus the method = something that can watch and answer."""

from inference.abstract_hermes import AbstractHermes
from inference.errors import (
    DeviceMemoryError,
    FrameError,
    ModelLoadError,
    NonFiniteLogitsError,
)
from inference.loading import load_model
from inference.registry import FAMILIES, MODELS, ModelEntry
from inference.stream_file import load_stream, save_stream
from inference.timing import AnswerTiming

__all__ = [
    "FAMILIES",
    "MODELS",
    "AbstractHermes",
    "AnswerTiming",
    "DeviceMemoryError",
    "FrameError",
    "ModelEntry",
    "ModelLoadError",
    "NonFiniteLogitsError",
    "load_model",
    "load_stream",
    "save_stream",
]
