"""The same weights, driven the way the release drives them.

transformers' forward; a `DynamicCache` that is concatenated at every step and rebuilt by index
selection at every compaction; rotated keys that are turned again; three guidance passes per chunk;
logits over the whole vocabulary for visual tokens; a loop over the tokens said so far for the
penalty; a forward after the last token. Each layer has its own positions, so each has its own
rotations.

Faster than the release in one point: vision is the engine's. Shapes: a position axes, n tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from efficiency.paths.cache_path import CachePath
from efficiency.paths.release_scoring import layer_scores, text_attention, turn
from efficiency.spans import Spans
from hermes.layout import Band, MemoryLayout
from hermes.positions import Placement
from inference.answers.prompts import guidance_texts
from inference.vision.visual_chunk import VisualChunk

_PENALTY = 1.1


class ReleasePath(CachePath):
    """HERMES as released, for a dialogue without history."""

    name: ClassVar[str] = "release"
    policy: ClassVar[str | None] = "hermes"
    feeds_last_token: ClassVar[bool] = True

    def forget_positions(self) -> None:
        """Per layer (a, n)."""
        self._kept: list[list[int]] | None = None
        rule, count = self.engine.rule, len(self.engine.language_model.layers)
        empty = torch.zeros(rule.num_axes, 0, dtype=rule.dtype, device=self.device)
        self.positions = [empty] * count

    def _next(self, layer: int) -> float:
        """One past the largest position of a layer; the host waits for it."""
        held = self.positions[layer]
        return held.max().item() + 1 if held.numel() else 0

    @torch.no_grad()
    def feed(
        self, embeddings: Tensor, placement: Placement, added: Sequence[Tensor] = ()
    ) -> Tensor:
        """Rotations layer by layer."""
        offsets = placement.offsets.to(self.device)
        new = [offsets + self._next(index) for index in range(len(self.positions))]
        with self._own_rotations(new):
            hidden = self.forward(embeddings, added)
        self.positions = [torch.cat(pair, dim=1) for pair in zip(self.positions, new, strict=True)]
        return hidden

    @contextmanager
    def _own_rotations(self, positions: list[Tensor]) -> Iterator[None]:
        """Layers rotate by these positions, not by those that they all are given."""

        with ExitStack() as stack:
            for layer, at in zip(self.engine.language_model.layers, positions, strict=True):
                hook = partial(self._rotated_by, at)
                own = layer.register_forward_pre_hook(hook, with_kwargs=True)
                stack.callback(own.remove)
            yield

    def _rotated_by(self, at: Tensor, layer: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
        cos, sin = self._angles(at)
        return args, {**kwargs, "position_embeddings": (cos[None], sin[None])}

    def _angles(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """(a, n) -> cos, sin (n, d) in the model's dtype."""
        like = torch.empty(0, dtype=self.engine.dtype, device=self.device)
        index = positions if len(positions) == 1 else positions[:, None]
        cos, sin = self.engine.language_model.rotary_emb(like, index)
        return cos[0], sin[0]

    @torch.no_grad()
    def read(self, chunk: VisualChunk, frames: Any, spans: Spans) -> None:
        """With logits that nobody looks at, once in the model's dtype and once in fp32."""
        hidden = self.feed_chunk(chunk, frames)
        with spans.part("logits"):
            self.engine.model.lm_head(hidden).float()

    @torch.no_grad()
    def make_room(self, spans: Spans) -> None:
        """Scores always; prunes when prefix and visual tokens exceed the budget."""
        config = self.engine.config
        layout = MemoryLayout.from_config(len(self.positions), config)
        self._kept = None
        with spans.part("scoring"):
            scores = layer_scores(self._maps(), config, layout)
        if self.num_tokens <= config.kv_size:
            return
        renumber = self._renumbers()
        kept = []
        for index, score in enumerate(scores):
            folds = layout.band(index) is Band.LONG_TERM and config.summary != "none"
            with spans.part("scoring"):
                best = score.topk(min(len(score), config.kv_size - folds)).indices
                kept.append(best.sort().values.tolist())
            self._shrink(index, kept[-1], renumber, folds and len(kept[-1]) < len(score))
        if any(len(rows) < len(score) for rows, score in zip(kept, scores, strict=True)):
            self._kept = kept

    def _maps(self) -> dict[str, list[Tensor]]:
        engine = self.engine
        texts = {name: text for name, text in guidance_texts().items() if name != "template"}
        return {
            str(name): text_attention(
                engine.language_model.layers,
                self.cache,
                engine.embed(engine.processor.encode(text)),
                self._next_angles,
                self.num_prefix,
            )
            for name, text in texts.items()
        }

    def _next_angles(self, layer: int, num_tokens: int) -> tuple[Tensor, Tensor]:
        return self._angles(self._text(num_tokens).offsets + self._next(layer))

    def _renumbers(self) -> bool:
        config, limit = self.engine.config, self.engine.max_positions
        if config.reindex == "eager":
            return True
        largest = max(self._next(index) for index in range(len(self.positions))) - 1
        return largest > limit - config.margin_for(limit)

    def _shrink(self, layer: int, kept: list[int], renumber: bool, fold: bool) -> None:
        """Keep the prefix and these visual tokens, by index; the rest may become one token."""
        held, old = self.cache.layers[layer], self.positions[layer]
        prefix = self.num_prefix
        rows = torch.tensor([*range(prefix), *(prefix + row for row in kept)], device=self.device)
        gone = torch.ones(old.shape[1], dtype=torch.bool, device=self.device)
        gone[rows] = False
        folded = gone.nonzero()[:, 0]
        keys, values = held.keys.index_select(2, rows), held.values.index_select(2, rows)
        positions = old[:, rows]
        if renumber:
            new = self._renumbered(positions)
            keys = turn(keys, *self._angles(new - positions))
            positions = new
        if fold:
            at = positions.max() + 1
            turned = turn(held.keys.index_select(2, folded), *self._angles(at - old[:, folded]))
            mean = held.values.index_select(2, folded).mean(dim=2, keepdim=True)
            keys = torch.cat((keys, turned.mean(dim=2, keepdim=True)), dim=2)
            values = torch.cat((values, mean), dim=2)
            positions = torch.cat((positions, at.expand(len(positions), 1)), dim=1)
        held.keys, held.values, self.positions[layer] = keys, values, positions

    def _renumbered(self, positions: Tensor) -> Tensor:
        """One axis: no gaps. Three: on each the distinct values after the prefix, no gaps."""
        if len(positions) == 1:
            return torch.arange(positions.shape[1], device=self.device)[None]
        new = positions.clone()
        for axis in new:
            ranks = axis[self.num_prefix :].unique(return_inverse=True)[1]
            axis[self.num_prefix :] = (self.num_prefix + ranks).to(axis.dtype)
        return new

    def chooser(self) -> Callable[[Tensor], int]:
        """Logits of every token that was read; the penalty waits for each token said."""
        said: list[int] = []

        def choose(hidden: Tensor) -> int:
            logits = self.engine.model.lm_head(hidden).float()[-1]
            for token in set(said):
                factor = _PENALTY if logits[token] < 0 else 1 / _PENALTY
                logits[token] *= factor
            said.append(int(logits.argmax()))
            return said[-1]

        return choose

    def marked_positions(self) -> list[Tensor]:
        """The lists themselves; they are replaced, never written."""
        return list(self.positions)

    def cut_positions(self, mark: list[Tensor]) -> None:
        """As they were."""
        self.positions = mark

    @property
    def kept(self) -> list[list[int]] | None:
        """Of the last pruning."""
        return self._kept
