"""HERMES: the KV cache of a video language model as hierarchical memory (arXiv 2601.14724).

    stream = hermes.open("nano", kv_size=64, sample_fps=1)
    stream.watch("talk.mp4")
    print(stream.ask("What is on the table?"))

The package itself is the method alone: pure tensor code on torch, no model library. `open` hands
over to `inference`, which puts it into models. Names are imported when they are first used, so
that `import hermes` costs nothing and command lines can explain themselves without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hermes.imports import lazy_names, require_ours

if TYPE_CHECKING:
    from pathlib import Path

    from hermes.compression import Compression as Compression
    from hermes.compression import ContextLimitError as ContextLimitError
    from hermes.compression import compress as compress
    from hermes.compression import ensure_positions as ensure_positions
    from hermes.config import PROFILES as PROFILES
    from hermes.config import MemoryConfig as MemoryConfig
    from hermes.configuration import FamilyConstants as FamilyConstants
    from hermes.configuration import configure as configure
    from hermes.layout import Band as Band
    from hermes.layout import MemoryLayout as MemoryLayout
    from hermes.memory import StreamMemory as StreamMemory
    from hermes.policies import POLICIES as POLICIES
    from hermes.policies import Policy as Policy
    from hermes.policies import make_policy as make_policy
    from hermes.saved.checked_file import SnapshotError as SnapshotError
    from hermes.store.integrity import MemoryIntegrityError as MemoryIntegrityError
    from inference.face.stream import Stream

__version__ = "0.1.0"

NAMES_OF = {
    "saved.checked_file": ("SnapshotError",),
    "compression": ("Compression", "ContextLimitError", "compress", "ensure_positions"),
    "config": ("PROFILES", "MemoryConfig"),
    "configuration": ("FamilyConstants", "configure"),
    "store.integrity": ("MemoryIntegrityError",),
    "layout": ("Band", "MemoryLayout"),
    "memory": ("StreamMemory",),
    "policies": ("POLICIES", "Policy", "make_policy"),
}
"""File -> what it offers here."""
__all__ = ["__version__", "open", *(name for names in NAMES_OF.values() for name in names)]

if not TYPE_CHECKING:  # or every misspelt name would have a type
    __getattr__ = lazy_names(__name__, NAMES_OF)


def open(model: str | Path, *, kv_size: int, **options: Any) -> Stream:
    """A new stream on a model: watch frames or videos with it, ask it.

    Args:
        model: "nano" or another key of `inference.MODELS`, a checkpoint folder, or a hub id.
        kv_size: visual tokens that the memory holds, per layer.
        options: `sample_fps` (frames per second of stream time), `device`, `dtype`, `policy`,
            `profile` and everything else that `inference.load_model` takes.

    Raises:
        ImportError: a file or folder of yours is in the way of a package of ours.
        ModelLoadError: missing, damaged or unknown checkpoint, no such device.
        ValueError: an option that makes no sense.
    """
    require_ours("inference")
    from inference.face.stream import open_stream

    return open_stream(model, kv_size=kv_size, **options)
