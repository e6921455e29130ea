"""Engines: a Hugging Face checkpoint plus the method = something that can watch and answer.

Names are imported when they are first used: prompts and model keys need neither torch nor
transformers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermes.imports import lazy_names

if TYPE_CHECKING:
    from inference.abstract_hermes import AbstractHermes as AbstractHermes
    from inference.errors import DeviceMemoryError as DeviceMemoryError
    from inference.errors import FrameError as FrameError
    from inference.errors import ModelLoadError as ModelLoadError
    from inference.errors import NonFiniteLogitsError as NonFiniteLogitsError
    from inference.face.answer import Answer as Answer
    from inference.face.stream import Stream as Stream
    from inference.loading import load_model as load_model
    from inference.models import MODELS as MODELS
    from inference.models import ModelEntry as ModelEntry
    from inference.registry import FAMILIES as FAMILIES
    from inference.stream_file import load_stream as load_stream
    from inference.stream_file import save_stream as save_stream
    from inference.timing import AnswerTiming as AnswerTiming

NAMES_OF = {
    "abstract_hermes": ("AbstractHermes",),
    "errors": ("DeviceMemoryError", "FrameError", "ModelLoadError", "NonFiniteLogitsError"),
    "face.answer": ("Answer",),
    "face.stream": ("Stream",),
    "loading": ("load_model",),
    "models": ("MODELS", "ModelEntry"),
    "registry": ("FAMILIES",),
    "stream_file": ("load_stream", "save_stream"),
    "timing": ("AnswerTiming",),
}
"""File -> what it offers here."""
__all__ = [name for names in NAMES_OF.values() for name in names]

if not TYPE_CHECKING:  # or every misspelt name would have a type
    __getattr__ = lazy_names(__name__, NAMES_OF)
