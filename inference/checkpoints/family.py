"""What has to be known to serve a kind of checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from inference.abstract_hermes import AbstractHermes
from inference.vision.frames import PixelConfig


@dataclass(frozen=True)
class Family:
    """The file of a family offers one as `FAMILY`."""

    engine: type[AbstractHermes]
    architecture: str
    """Class in transformers."""
    pixel_config: Callable[[dict[str, Any], Any, int | None], PixelConfig]
    """Processor files, model configuration and `max_pixels` -> pixel numbers."""
    prepare: Callable[[nn.Module], None] = lambda model: None
    """Changes a loaded model in place."""
