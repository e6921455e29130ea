"""The decoder loop: chunks, and text that stays, are read here alone; text for answers, which
leaves no trace, in `inference.tokens.text_pass`.

It drives the layers' parts instead of hooking `forward`: positions differ per layer, scoring needs
attention weights, and keys and values live in preallocated buffers.

Shapes: h query heads, g key heads, q new tokens, n tokens in memory, d head width, e embedding
width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from hermes.memory import LayerAngles, StreamMemory
from hermes.policy_parts.base import Observer, Recall
from hermes.positions import Placement
from hermes.rotation import rotate
from hermes.store.provenance import Provenance
from inference.attention import Kernel
from inference.layers.plain_layer import PlainLayer
from inference.packed_texts import PackedTexts

Output = Literal["none", "last", "all"]
"""Which rows of the last hidden state are wanted; the last layer computes no others."""


class Passage(NamedTuple):
    """What is to be read into a memory; as the arguments of `StreamDecoder.forward`."""

    memory: StreamMemory
    embeddings: Tensor
    placement: Placement
    provenance: Provenance | None = None
    observer: Observer | None = None
    added: Sequence[Tensor] = ()


class StreamDecoder:
    """A text model of the Qwen2 kind (norms, projections, MLP, perhaps q/k norms) on a memory."""

    def __init__(
        self,
        language_model: Any,
        kernel: Kernel,
        kind: type[PlainLayer] = PlainLayer,
    ) -> None:
        """`kind`: how the parts of a layer beside attention are computed."""
        self.layers = [kind(layer) for layer in language_model.layers]
        self.norm = kind.norm_of(language_model.norm)
        self.rotary = language_model.rotary_emb
        self.kernel = kernel

    @property
    def devices(self) -> list[torch.device]:
        """Where each layer computes."""
        return [next(layer.module.parameters()).device for layer in self.layers]

    def refresh(self) -> None:
        """Take over weights that have changed; whoever projects without `forward` calls it."""
        for layer in self.layers:
            layer.refresh()

    def angles(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """(a, n) positions -> cos, sin (n, d) fp32 by the checkpoint's own rotary module."""
        like = torch.empty(0, dtype=torch.float32, device=positions.device)
        index = positions if positions.shape[0] == 1 else positions.unsqueeze(1)
        cos, sin = self.rotary(like, index)
        return cos[0].to(positions.device), sin[0].to(positions.device)

    @torch.no_grad()
    def forward(
        self,
        memory: StreamMemory,
        embeddings: Tensor,
        placement: Placement,
        provenance: Provenance | None = None,
        *,
        output: Output = "last",
        observer: Observer | None = None,
        recall: Recall | None = None,
        depth: int | None = None,
        added: Sequence[Tensor] = (),
        packed: PackedTexts | None = None,
    ) -> Tensor | None:
        """Read q new tokens into the memory.

        Args:
            embeddings: (q, e).
            placement: where the tokens stand; each layer adds its own next free position.
            provenance: frame, time and patch of visual tokens; None for text.
            observer: sees queries and keys of every layer.
            recall: fills a layer's older tokens, knowing the queries; their number and the
                positions of the new tokens are settled before.
            depth: stop after so many layers (only inside `memory.scratch()`).
            added: (q, e) features added to the hidden states behind the first layers, one each.
            packed: the new tokens are several texts that do not see each other.

        Returns:
            Normalised hidden states (rows, e) or None, as `output` says.
        """
        self.refresh()
        last = (depth or len(self.layers)) - 1
        hidden = embeddings
        with memory.append(placement, provenance) as angles:
            for index in range(last):
                hidden = self._layer(index, hidden, memory, angles, "all", observer, recall, packed)
                if index < len(added):
                    hidden = hidden + added[index].to(hidden.device)
            hidden = self._layer(last, hidden, memory, angles, output, observer, recall, packed)
        return None if output == "none" else self.norm(hidden)

    def project(self, index: int, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Un-rotated queries (h, q, d), keys and values (g, q, d) of (q, e) hidden states."""
        return self.layers[index].project(hidden)

    def scaling(self, index: int) -> float:
        """Factor on the logits of a layer, usually d ** -0.5."""
        return self.layers[index].scaling

    def _layer(
        self,
        index: int,
        hidden: Tensor,
        memory: StreamMemory,
        angles: LayerAngles,
        rows: Output,
        observer: Observer | None,
        recall: Recall | None,
        packed: PackedTexts | None,
    ) -> Tensor:
        hidden = hidden.to(memory.place_of(index)[0].device)
        hidden = hidden if packed is None else hidden[: packed.num_rows(index)]
        states = self.project(index, hidden)
        attended = self.attend(index, states, memory, angles, rows, observer, recall, packed)
        if attended is None:
            return hidden
        return self.after_attention(index, hidden[-attended.shape[1] :], attended)

    def attend(
        self,
        index: int,
        states: tuple[Tensor, Tensor, Tensor],
        memory: StreamMemory,
        angles: LayerAngles,
        rows: Output = "all",
        observer: Observer | None = None,
        recall: Recall | None = None,
        packed: PackedTexts | None = None,
    ) -> Tensor | None:
        """Write what `project` gave into an open memory and attend over all of it: (h, rows, d).

        Args:
            angles: what `StreamMemory.append` yielded.
            rows: "last" attends for the last token only, "none" for none and gives None.
            packed: several texts that do not see each other.
        """
        queries, new_keys, new_values = states
        scaling = self.scaling(index)
        if recall:
            recall(index, queries)
        cos, sin = (table[: queries.shape[1]] for table in angles(index))
        keys, values = memory.write(index, new_keys, new_values, cos, sin)
        if observer:
            observer(index, rotate(queries, cos, sin), keys, scaling)
        if rows == "none":
            return None
        if rows == "last":
            queries, cos, sin = queries[:, -1:], cos[-1:], sin[-1:]
        kernel = self.kernel if packed is None else packed.kernel
        return kernel(rotate(queries, cos, sin), keys, values, scaling)

    def after_attention(self, index: int, hidden: Tensor, attended: Tensor) -> Tensor:
        """The rest of a layer: (q, e) hidden states and their (h, q, d) attention -> (q, e)."""
        rows = attended.transpose(0, 1).reshape(hidden.shape[0], -1)
        return self.layers[index].finish(hidden, rows)
