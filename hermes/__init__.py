"""HERMES: the KV cache of a video language model as hierarchical memory (arXiv 2601.14724).

The method alone: pure tensor code on torch, no model library. `inference` puts it into models.
"""

from hermes.compression import Compression, ContextLimitError, compress, ensure_positions
from hermes.config import PROFILES, MemoryConfig
from hermes.configure import FamilyConstants, configure
from hermes.integrity import MemoryIntegrityError
from hermes.layout import Band, MemoryLayout
from hermes.memory import StreamMemory
from hermes.policies import POLICIES, Policy, make_policy
from hermes.snapshot import SnapshotError

__all__ = [
    "POLICIES",
    "PROFILES",
    "Band",
    "Compression",
    "ContextLimitError",
    "FamilyConstants",
    "MemoryConfig",
    "MemoryIntegrityError",
    "MemoryLayout",
    "Policy",
    "SnapshotError",
    "StreamMemory",
    "compress",
    "configure",
    "ensure_positions",
    "make_policy",
]
