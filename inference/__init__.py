"""Engines: a Hugging Face checkpoint plus the method = something that can watch and answer.

Names are imported when they are first used: prompts and model keys need neither torch nor
transformers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermes.imports import lazy_names

if TYPE_CHECKING:
    from inference.abstract_hermes import AbstractHermes as AbstractHermes
    from inference.answers.timing import AnswerTiming as AnswerTiming
    from inference.checkpoints.loading import load_model as load_model
    from inference.checkpoints.models import MODELS as MODELS
    from inference.checkpoints.models import ModelEntry as ModelEntry
    from inference.checkpoints.registry import FAMILIES as FAMILIES
    from inference.errors import DeviceMemoryError as DeviceMemoryError
    from inference.errors import FrameError as FrameError
    from inference.errors import ModelLoadError as ModelLoadError
    from inference.errors import NonFiniteLogitsError as NonFiniteLogitsError
    from inference.face.answer import Answer as Answer
    from inference.face.stream import Stream as Stream
    from inference.face.together import ask_together as ask_together
    from inference.face.together import watch_together as watch_together
    from inference.saved.stream_file import load_stream as load_stream
    from inference.saved.stream_file import save_stream as save_stream
    from inference.together.answering import answer_together as answer_together
    from inference.together.watching import encode_together as encode_together

NAMES_OF = {
    "abstract_hermes": ("AbstractHermes",),
    "errors": ("DeviceMemoryError", "FrameError", "ModelLoadError", "NonFiniteLogitsError"),
    "face.answer": ("Answer",),
    "face.stream": ("Stream",),
    "face.together": ("ask_together", "watch_together"),
    "checkpoints.loading": ("load_model",),
    "checkpoints.models": ("MODELS", "ModelEntry"),
    "checkpoints.registry": ("FAMILIES",),
    "saved.stream_file": ("load_stream", "save_stream"),
    "answers.timing": ("AnswerTiming",),
    "together.answering": ("answer_together",),
    "together.watching": ("encode_together",),
}
"""File -> what it offers here."""
__all__ = [name for names in NAMES_OF.values() for name in names]

if not TYPE_CHECKING:  # or every misspelt name would have a type
    __getattr__ = lazy_names(__name__, NAMES_OF)
