"""Names by which code written for the authors' release reads a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inference.prompts import guidance_texts

if TYPE_CHECKING:
    from hermes import MemoryConfig, Policy, StreamMemory
    from inference.prompts import Turn


class ReleasedNames:
    """Read-only views under the released attribute names; mixed into the engines."""

    if TYPE_CHECKING:
        config: MemoryConfig
        policy: Policy
        conv_history: list[Turn]

        @property
        def memory(self) -> StreamMemory: ...

    @property
    def kv_size(self) -> int:
        """Visual tokens per layer."""
        return self.config.kv_size

    @property
    def streaming(self) -> bool:
        """True for lazy renumbering."""
        return self.config.reindex == "lazy"

    @property
    def num_layers(self) -> int:
        """Decoder layers."""
        return self.policy.layout.num_layers

    @property
    def short_term_threshold(self) -> int:
        """First layer above the sensory band."""
        return self.policy.layout.sensory_end

    @property
    def long_term_threshold(self) -> int:
        """First layer of the long-term band."""
        return self.policy.layout.long_term_start

    @property
    def visual_start_idx(self) -> int:
        """Number of prefix tokens."""
        return self.memory.num_prefix

    @property
    def kv_cache(self) -> list[tuple[Any, Any]]:
        """Per layer keys (1, g, n, d), rotated at their positions, and values; views."""
        memory = self.memory
        memory.refresh()
        used = slice(0, memory.num_tokens)
        return [
            (buffers.rotated[None, :, used], buffers.values[None, :, used])
            for buffers in memory.layers
        ]

    def predict_next_question(self) -> tuple[str, str]:
        """The local and the global guidance text, as they stand now."""
        turn = self.conv_history[-1] if self.conv_history and self.config.use_history else None
        texts = guidance_texts(turn)
        return texts["local"], texts["global"]
