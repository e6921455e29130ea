"""The names by which code written for the authors' release drives a stream.

Everything here is a thin view of the engine, mixed into it: what outside code reads, sets and calls
beyond `clear_cache`, `encode_init_prompt`, `encode_video_chunk`, `predict_and_compress` and
`get_video_features`, which are the engine's own. New code uses `inference.face.stream.Stream`.

Shapes: l layers, g key heads, h query heads, s tokens in memory (prefix included), t text tokens,
d head width, a position axes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hermes.compression import choose, rows_per_layer, stacked_attention
from hermes.memory import fold_evicted
from hermes.policy_parts.guidance import Questions, texts_of
from hermes.store.layer_stack import LayerStack
from hermes.store.provenance import NO_PATCH
from inference.answers.prompts import get_prompt, guidance_texts

if TYPE_CHECKING:
    from hermes import MemoryConfig, Policy, StreamMemory
    from hermes.policies import Guidance
    from hermes.positions import PositionRule
    from inference.answers.prompts import Turn

LOCAL_QUESTION = "What is happening in the video?"
GLOBAL_QUESTION = "What is the main topic of the video?"
"""What `pseudo_forward` asks when it is given nothing, as released."""


class ReleasedNames:
    """Mixed into the engines."""

    if TYPE_CHECKING:
        config: MemoryConfig
        policy: Policy
        rule: PositionRule
        conv_history: list[Turn]

        @property
        def memory(self) -> StreamMemory: ...
        def adopt(self, config: MemoryConfig) -> None: ...
        def configured(self, config: MemoryConfig, **named: Any) -> MemoryConfig: ...
        def forget_frames(self) -> None: ...
        def predict_and_compress(self, texts: Mapping[Guidance, str] | None = None) -> None: ...
        def stream_answer(self, input_text: Any, *sampling: Any) -> Iterator[str]: ...

    @property
    def kv_size(self) -> int:
        """Visual tokens per layer; can be set until something has been watched."""
        return self.config.kv_size

    @kv_size.setter
    def kv_size(self, value: int) -> None:
        if value == self.kv_size:
            return
        if self.memory.num_visual:
            raise ValueError(
                f"kv_size is {self.kv_size} for this stream, which has begun; call clear_cache() "
                "first, or open another stream"
            )
        self.adopt(self.configured(self.config, kv_size=value))

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
        """Number of prefix tokens. Setting it to what it is does nothing, as resets by hand do."""
        return self.memory.num_prefix

    @visual_start_idx.setter
    def visual_start_idx(self, value: int) -> None:
        if value != self.memory.num_prefix:
            raise ValueError(
                f"the prefix has {self.memory.num_prefix} tokens, not {value}; it is forgotten "
                "with the frames: call clear_cache()"
            )

    @property
    def kv_cache(self) -> list[tuple[Tensor, Tensor]] | None:
        """Per layer keys (1, g, s, d), rotated at their positions, and values; None if empty.
        Views; copies of what rests in eight bits. Setting it to None forgets the frames and keeps
        the dialogue."""
        memory = self.memory
        memory.refresh()
        pairs = [
            (
                stack.rotated[index, None, :, : stack.num_tokens].to(stack.keys.dtype),
                stack.values[index, None, :, : stack.num_tokens].to(stack.keys.dtype),
            )
            for stack, index in map(memory.place_of, range(self.num_layers))
        ]
        return pairs if memory.num_tokens else None

    @kv_cache.setter
    def kv_cache(self, value: Any) -> None:
        flat = None if value is None else [part for pair in value for part in pair]
        ours = [part for pair in self.kv_cache or () for part in pair]
        self._set("kv_cache", flat, ours)

    @property
    def _position_ids_cache(self) -> list[Tensor | None]:
        """Per layer the tokens' positions, (s,) or (a, s); None if empty."""
        memory = self.memory
        if not memory.num_tokens:
            return [None] * self.num_layers
        used = [
            stack.positions[index, :, : stack.num_tokens]
            for stack, index in map(memory.place_of, range(self.num_layers))
        ]
        return [layer[0] if len(layer) == 1 else layer for layer in used]

    @_position_ids_cache.setter
    def _position_ids_cache(self, value: Any) -> None:
        self._set("_position_ids_cache", value, self._position_ids_cache)

    @property
    def token_activity_cache(self) -> list[None]:
        """The release filled it and never read it; nothing here does either."""
        return [None] * self.num_layers

    @token_activity_cache.setter
    def token_activity_cache(self, value: Any) -> None:
        """Whatever is set is dropped."""

    def predict_next_question(self) -> tuple[str, str]:
        """The local and the global guidance text, as they stand now."""
        turn = self.conv_history[-1] if self.conv_history and self.config.use_history else None
        texts = guidance_texts(turn, self.config.guidance_prompts)
        return texts["local"], texts["global"]

    def pseudo_forward(
        self, local_question: str | None = None, global_question: str | None = None
    ) -> None:
        """Make room like `predict_and_compress`, steered by these two texts."""
        local, overall = local_question or LOCAL_QUESTION, global_question or GLOBAL_QUESTION
        self.predict_and_compress(texts_of(Questions(local, overall)))

    def prune_kv_cache_by_attention(
        self,
        attn_weights_local: Sequence[Tensor],
        attn_weights_global: Sequence[Tensor],
        attn_weights_mixed: Sequence[Tensor],
        num_keep: int | None = None,
    ) -> list[Tensor]:
        """Which tokens the policy would keep if the guidance texts paid this attention.

        Args:
            attn_weights_local, attn_weights_global, attn_weights_mixed: per layer
                (1, h, t, s + t), softmax over everything in memory and the text itself.
            num_keep: `kv_size`, or left out.

        Returns:
            Per layer ascending int64 indices in [0, s), the prefix among them, for
            `apply_kv_cache_pruning_strict`.

        Raises:
            ValueError: another `num_keep`, or attention of another shape.
        """
        if num_keep not in (None, self.kv_size):
            raise ValueError(f"num_keep must be kv_size ({self.kv_size}), got {num_keep}")
        memory = self.memory
        given = {
            "local": attn_weights_local,
            "global": attn_weights_global,
            "mixed": attn_weights_mixed,
        }
        scores = {
            layer: _visual(given[text][layer], memory.place_of(layer)[0])
            for layer in range(self.num_layers)
            if (text := self.policy.guidance(layer))
        }
        kept: Sequence[Tensor] = [
            torch.arange(memory.place_of(layer)[0].num_visual) for layer in range(self.num_layers)
        ]
        if self.policy.overflows(memory.stacks):
            stacked = [stacked_attention(scores, stack) for stack in memory.stacks]
            folding = [self.policy.folding(stack) for stack in memory.stacks]
            kept = rows_per_layer(folding, choose(memory, self.policy, stacked)[0])
        prefix = torch.arange(memory.num_prefix)
        return [torch.cat((prefix.to(rows), rows + memory.num_prefix)) for rows in kept]

    def apply_kv_cache_pruning_strict(self, keep_indices_all_layers: Sequence[Any]) -> None:
        """Keep these tokens of each layer and drop the others; nothing happens for an empty list.

        Where the policy folds, a layer that keeps one token less than the others gets a summary of
        what it drops. Positions are renumbered in eager mode.

        Args:
            keep_indices_all_layers: per layer indices in [0, s); the prefix stays in any case.

        Raises:
            ValueError: not one list per layer, an index outside, or layers of different lengths.
        """
        if not len(keep_indices_all_layers) or not len(keep_indices_all_layers[0]):
            return
        memory, policy = self.memory, self.policy
        if (given := len(keep_indices_all_layers)) != self.num_layers:
            raise ValueError(f"expected indices for {self.num_layers} layers, got {given}")
        kept = [
            _rows(indices, memory.place_of(layer)[0])
            for layer, indices in enumerate(keep_indices_all_layers)
        ]
        stacked, summaries = [], []
        for stack in memory.stacks:
            longest = max(len(kept[layer]) for layer in stack.layers)
            folding = [policy.folds(n) and len(rows) == longest - 1 for n, rows in enumerate(kept)]
            rows, layers = _stack_rows(stack, kept, folding, longest)
            stacked.append(rows)
            weighted = self.config.summary == "weighted"
            summary = fold_evicted(stack, layers, rows, weighted=weighted) if layers else None
            summaries.append(summary)
        memory.keep(stacked, summaries, None if self.streaming else self.rule.renumber)
        memory.ledger.keep_only(_whole_frames(memory))

    def get_prompt(self, query: str, mc: bool = False) -> str:
        """The released wrapping of a question body; `mc` opens the option that is to follow."""
        return get_prompt(query, mc=mc)

    def question_answering(
        self,
        input_text: str | Mapping[str, str],
        max_new_tokens: int = 128,
        temperature: float = 0,
        repetition_penalty: float = 1.1,
        pseudo_forward: bool = False,
        seed: int | None = None,
    ) -> str:
        """The whole of `stream_answer`; with `pseudo_forward` room is made first, as released."""
        if pseudo_forward:
            self.predict_and_compress()
        return "".join(
            self.stream_answer(input_text, max_new_tokens, temperature, repetition_penalty, seed)
        )

    def _set(self, name: str, value: Any, ours: Sequence[Tensor | None]) -> None:
        """Blank forgets the frames, what is there already changes nothing, all else is refused."""
        if value is None or all(part is None for part in value):
            self.forget_frames()
        elif len(value) != len(ours) or not all(map(_same, value, ours)):
            raise ValueError(
                f"{name} can be set to None (forget) or to what it is; to drop tokens call "
                "apply_kv_cache_pruning_strict(indices per layer)"
            )


def _whole_frames(memory: StreamMemory) -> list[int]:
    """Numbers of the frames of the ledger of which every layer still has all picture tokens."""
    whole = {frame.number: frame.num_tokens for frame in memory.ledger.frames}
    for stack in memory.stacks:
        origin, used = stack.origin, stack.visual
        rows = origin.frame[:, used].cpu(), origin.patch[:, used].cpu()
        for frames, patches in zip(*rows, strict=True):
            numbers, counts = frames[patches != NO_PATCH].unique(return_counts=True)
            held = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
            whole = {number: count for number, count in whole.items() if held.get(number) == count}
    return list(whole)


def _same(theirs: Any, ours: Tensor | None) -> bool:
    if ours is None or theirs is None:
        return ours is theirs
    return torch.equal(torch.as_tensor(theirs).to(ours), ours)


def _visual(attention: Tensor, stack: LayerStack) -> Tensor:
    """(1, h, t, s + t) -> (n,) fp32: mean over heads and text of the visual columns."""
    if attention.ndim != 4 or attention.shape[-1] != stack.num_tokens + attention.shape[2]:
        raise ValueError(
            f"expected attention (1, heads, text, {stack.num_tokens} + text) per layer, got "
            f"{tuple(attention.shape)}"
        )
    return attention[0].float().mean((0, 1))[stack.visual]


def _rows(indices: Any, stack: LayerStack) -> Tensor:
    """Indices of tokens -> ascending indices of visual tokens."""
    rows = torch.as_tensor(indices, dtype=torch.int64).unique()
    if len(rows) and not (rows[0] >= 0 and rows[-1] < stack.num_tokens):
        raise ValueError(f"indices must lie in [0, {stack.num_tokens}), got {rows.tolist()}")
    return rows[rows >= stack.num_prefix] - stack.num_prefix


def _stack_rows(
    stack: LayerStack, kept: Sequence[Tensor], folding: Sequence[bool], longest: int
) -> tuple[Tensor, slice | None]:
    """(l, longest) rows of a stack as `StreamMemory.keep` takes them, and its layers that fold."""
    short = [layer for layer in stack.layers if not folding[layer] and len(kept[layer]) != longest]
    if short:
        raise ValueError(
            f"every layer must keep the same number of tokens; layer {short[0]} keeps "
            f"{len(kept[short[0]])}, others {longest}"
        )
    rows = [
        torch.cat((kept[layer], _slot_of_summary(kept[layer]))) if folding[layer] else kept[layer]
        for layer in stack.layers
    ]
    found = [index for index, layer in enumerate(stack.layers) if folding[layer]]
    if found and found[-1] - found[0] + 1 != len(found):
        raise ValueError(
            "layers that keep one token less than the others, and get a summary for it, must be "
            f"neighbours; got {[stack.layers[index] for index in found]}"
        )
    layers = slice(found[0], found[-1] + 1) if found else None
    return torch.stack(rows).to(stack.device), layers


def _slot_of_summary(rows: Tensor) -> Tensor:
    """(1,) any visual token: its slot is the summary's."""
    return rows[-1:] if len(rows) else torch.zeros(1, dtype=torch.int64)
