"""What the two baselines share: transformers' own forward on a cache that grows by concatenation.

Shapes: a position axes, q new tokens, e embedding width, v vocabulary.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from efficiency.paths.path import Answered, Path
from hermes.positions import Placement
from inference.answers.timing import Stopwatch
from inference.vision.visual_chunk import VisualChunk


class CachePath(Path):
    """One `DynamicCache`; subclasses say where tokens stand."""

    def restart(self) -> None:
        """A new cache, the prompt in it."""
        self.cache = DynamicCache()
        self._num_frames = 0
        self.forget_positions()
        prompt = self.engine.processor.encode(self.engine.init_prompt)
        self.feed(self.engine.embed(prompt), self._text(len(prompt)))
        self.num_prefix = len(prompt)

    @abstractmethod
    def forget_positions(self) -> None:
        """Positions start again at zero."""

    @abstractmethod
    def feed(
        self, embeddings: Tensor, placement: Placement, added: Sequence[Tensor] = ()
    ) -> Tensor:
        """Read (q, e) into the cache; (q, e) normalised hidden states.

        Args:
            added: (q, e) each, behind the first layers; `VisualChunk.added`.
        """

    def feed_chunk(self, chunk: VisualChunk, frames: Any) -> Tensor:
        """With the texts of its steps, for families that set them around frames."""
        fps, first = self.engine.sample_fps, self._num_frames
        times = [number / fps for number in range(first, first + len(frames))]
        self._num_frames += len(frames)
        chunk = self.engine.with_text(chunk, chunk.moments(len(frames), times))
        return self.feed(chunk.features, chunk.placement, chunk.added)

    def forward(self, embeddings: Tensor, added: Sequence[Tensor], **given: Any) -> Tensor:
        """transformers' own."""
        if added:
            everywhere = torch.ones(1, len(embeddings), dtype=torch.bool, device=self.device)
            given |= {"visual_pos_masks": everywhere, "deepstack_visual_embeds": list(added)}
        output = self.engine.language_model(
            inputs_embeds=embeddings[None], past_key_values=self.cache, use_cache=True, **given
        )
        return output.last_hidden_state[0]

    @abstractmethod
    def chooser(self) -> Callable[[Tensor], int]:
        """Of one answer: (q, e) hidden states -> the likeliest next token, with the penalty."""

    @abstractmethod
    def marked_positions(self) -> Any:
        """The present positions, for `cut_positions`."""

    @abstractmethod
    def cut_positions(self, mark: Any) -> None:
        """Forget the positions of what came after the mark."""

    @contextmanager
    def scratch(self) -> Iterator[None]:
        """What is read inside leaves again."""
        length, mark = self.num_tokens, self.marked_positions()
        try:
            yield
        finally:
            for layer in self.cache.layers:
                layer.keys = layer.keys[..., :length, :]
                layer.values = layer.values[..., :length, :]
            self.cut_positions(mark)

    @torch.no_grad()
    def answer(self, prompt: str, max_new_tokens: int) -> Answered:
        """Token by token; the first is timed when it is on the host."""
        processor, choose = self.engine.processor, self.chooser()
        said: list[int] = []
        first = last = 0.0
        with self.scratch():
            watch = Stopwatch(self.device)
            hidden = self._feed_ids(processor.encode(prompt))
            while len(said) < max_new_tokens:
                said.append(choose(hidden))
                last = watch.seconds()
                first = first or last
                ended = said[-1] in processor.stop_ids or len(said) == max_new_tokens
                if not ended or self.feeds_last_token:
                    hidden = self._feed_ids(torch.tensor(said[-1:]))
                if ended:
                    break
        later = (last - first) / (len(said) - 1) if len(said) > 1 else None
        return Answered(processor.decode(said), first, later)

    @torch.no_grad()
    def forced_logits(self, prompt: str, tokens: Sequence[int]) -> Tensor:
        """One by one, as in an answer."""
        pieces = [self.engine.processor.encode(prompt), *(torch.tensor([t]) for t in tokens)]
        with self.scratch():
            hidden = [self._feed_ids(piece)[-1] for piece in pieces]
            return self.engine.model.lm_head(torch.stack(hidden)).float()

    def _feed_ids(self, ids: Tensor) -> Tensor:
        return self.feed(self.engine.embed(ids), self._text(len(ids)))

    def _text(self, num_tokens: int) -> Placement:
        return self.engine.rule.text(num_tokens, self.device)

    @property
    def num_tokens(self) -> int:
        """All layers hold as many."""
        return self.cache.get_seq_length()

    @property
    def num_bytes(self) -> int:
        """Keys and values."""
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in self.cache.layers)
