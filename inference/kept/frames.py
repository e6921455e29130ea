"""Re-prefill baselines: frames are kept instead of a memory and read afresh for every question.

Shapes: f frames, q visual tokens of a chunk, t visual tokens of a step (a frame, or the frames of
one temporal patch), e embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hermes import ContextLimitError, StreamMemory
from hermes.policies import Recall
from hermes.policy_parts.reprefill_base import ReprefillPolicy
from hermes.policy_parts.state import PolicyState, check_names, frame_numbers
from hermes.store.provenance import Provenance
from inference.answers.timing import Lap
from inference.errors import FrameError
from inference.kept.kept import Kept
from inference.vision.visual_chunk import VisualChunk


@dataclass(frozen=True)
class Step:
    """A retained step."""

    content: Tensor
    """(t, e) features, of all depths side by side; without caching the (frames per step, H, W, 3)
    uint8 frames."""
    origin: Provenance
    vision: Lap | float
    """Seconds that encoding cost when it came; 0 for raw frames."""
    num_encoded: int
    """Steps that were encoded together in this time."""
    moment: float
    """Seconds in the middle between its first and its last frame."""

    @property
    def vision_seconds(self) -> float:
        """Its share."""
        spent = self.vision.seconds if isinstance(self.vision, Lap) else self.vision
        return spent / self.num_encoded

    @property
    def number(self) -> int:
        """Frame number; read from host memory."""
        return int(self.origin.frame[0])


class KeptFrames(Kept):
    """The retained frames of one stream. Which ones is the policy's choice and bounded."""

    policy: ReprefillPolicy

    def __init__(self, stream: Any, policy: ReprefillPolicy) -> None:
        super().__init__(stream, policy)
        self.clear()

    @property
    def position_advice(self) -> None:
        """The error names `num_frames`."""
        return None

    def clear(self) -> None:
        """Forget the stream."""
        super().clear()
        self._steps: list[Step] = []
        self._size: VisualChunk | None = None
        self._frame_size: tuple[int, int] | None = None
        """Height and width of the frames of `_size`."""
        self._spared: list[Step] = []
        """Steps of the latest question whose features had been kept."""
        self._spent: Lap | None = None
        """Its own vision encoding."""

    @property
    def vision_seconds(self) -> tuple[float, float]:
        """As `Kept`."""
        spared = sum(step.vision_seconds for step in self._spared)
        return spared, self._spent.seconds if self._spent else 0.0

    @property
    def wants_features(self) -> bool:
        """Without features that are kept, the first ones only, which tell their size."""
        if self.policy.is_blind:
            return False
        return self._size is None or self.policy.options.cache_features

    @property
    def num_bytes(self) -> int:
        """Of the retained frames or features."""
        own = sum(step.content.nbytes for step in self._steps)
        return super().num_bytes + own

    def look(self, frames: Tensor) -> VisualChunk | None:
        """Their features, if they are kept or the size of a frame has to be learned from them."""
        if not self.wants_features:
            return None
        features: VisualChunk = self._stream.encode_features(frames)
        return features

    def receive(
        self,
        frames: Tensor,
        times: Sequence[float] | Tensor,
        seen: VisualChunk | None = None,
    ) -> VisualChunk:
        """Retain what the policy wants; like a chunk that was read."""
        if self.policy.is_blind:
            frames, seen = torch.zeros_like(frames), None
        chunk, frame_size = self._size, (frames.shape[1], frames.shape[2])
        self.refuse_other_pixels(frame_size)
        if chunk is None or self.policy.options.cache_features:
            chunk = seen or self._stream.encode_features(frames)
        origin = chunk.provenance(self._stream.total_processed_frames, len(frames), times)
        moments = chunk.moments(len(frames), times)
        count = self._count(chunk, moments[-1])
        self._size, self._frame_size = chunk, frame_size
        self._steps += self._split(chunk, frames, origin, moments)
        numbers = [step.number for step in self._steps]
        contents = [step.content for step in self._steps]
        retained = zip(*self.policy.absorb(numbers, contents, count), strict=True)
        self._steps = [replace(self._steps[index], content=content) for index, content in retained]
        return chunk

    def state(self) -> PolicyState:
        """Retained steps: content and where it came from; and the policy's own."""
        steps = [
            [step.number, float(step.origin.seconds[0]), step.vision_seconds, step.moment]
            for step in self._steps
        ]
        contents = {f"step_{turn}": step.content for turn, step in enumerate(self._steps)}
        own = {"frame_size": self._frame_size, "steps": steps, **contents}
        return {**self.policy.state(), **own}

    def load_state(self, state: PolicyState, memory: StreamMemory) -> None:
        """As `Policy.load_state`. Encodes one empty frame to learn the places of its tokens."""
        steps = state["steps"]
        names = [f"step_{turn}" for turn in range(len(steps))]
        own = {"frame_size", "steps", *names}
        check_names({name: state[name] for name in own & set(state)}, *own)
        self.policy.load_state({name: state[name] for name in set(state) - own}, memory)
        if not steps:
            return
        frame_numbers({"steps": [number for number, *_ in steps]}, "steps")
        height, width = state["frame_size"]
        self._frame_size = (height, width)
        size = self._stream.see(torch.zeros(1, height, width, 3, dtype=torch.uint8))
        self._steps = [
            self._restored(size, state[name], *step)
            for name, step in zip(names, steps, strict=True)
        ]
        self._size = size

    def prepare(self, prompt: Tensor | None = None) -> tuple[StreamMemory, Recall | None]:
        """Read the chosen steps into the memory as one chunk after the prefix.

        Raises:
            ContextLimitError: they do not fit below the model's position limit.
        """
        self.read(self._stream.memory)
        return self._stream.memory, None

    def read(self, memory: StreamMemory) -> None:
        """As `prepare`, into any memory that holds the prefix."""
        steps, chunk = self.chosen(), self._size
        if steps and chunk is not None:
            self._read(memory, steps, self._chunk(steps, chunk))

    def _read(self, memory: StreamMemory, steps: list[Step], chunk: VisualChunk) -> None:
        engine = self._stream
        needed = memory.position_bound + chunk.placement.advance
        if needed > engine.max_positions:
            raise ContextLimitError(
                f"{len(steps)} frames or pairs of frames need {needed:g} positions, the model ends "
                f"at {engine.max_positions}: lower num_frames or kv_size"
            )
        numbers = torch.tensor([step.number for step in steps])
        seconds = torch.stack([step.origin.seconds[0] for step in steps])
        engine.decoder.forward(
            memory,
            chunk.features,
            chunk.placement,
            chunk.origin(numbers, seconds),
            output="none",
            added=chunk.added,
        )

    def frames_by_layer(self) -> list[np.ndarray]:
        """The same in every layer."""
        shown = [step.origin.frame.numpy() for step in self.chosen()]
        row = np.concatenate(shown) if shown else np.empty(0, np.int64)
        return [row] * self.policy.layout.num_layers

    def text_by_layer(self) -> np.ndarray:
        """Texts are made anew for each question."""
        return np.zeros(self.policy.layout.num_layers, np.int32)

    def chosen(self) -> list[Step]:
        """What a question would be shown now."""
        if self._size is None or not self._steps:
            return []
        numbers = [step.number for step in self._steps]
        picked = self.policy.pick(numbers, self._count(self._size, self._steps[-1].moment))
        return [self._steps[index] for index in picked]

    def refuse_other_pixels(self, frame_size: tuple[int, int]) -> None:
        """Raises FrameError for frames of another height and width than those before."""
        before = self._frame_size
        if before is not None and frame_size != before:
            raise FrameError(
                f"frames of {frame_size[0]} x {frame_size[1]} pixels after frames of {before[0]} x "
                f"{before[1]}: the policy {self.policy.config.policy!r} needs frames of one size "
                "for a whole stream; resize them, or begin a new stream (clear_cache)"
            )

    def _count(self, chunk: VisualChunk, newest: float) -> int:
        """Steps that the budget holds if none has more text than one of the time `newest`."""
        needed = chunk.tokens_per_step + self._stream.num_text_tokens(newest)
        count = self.policy.num_steps(needed, chunk.frames_per_step)
        if count < 1:
            raise FrameError(
                f"one frame needs {needed} visual tokens but kv_size is "
                f"{self.policy.config.kv_size}: raise --kv_size or set the option num_frames"
            )
        return count

    def _split(
        self, chunk: VisualChunk, frames: Tensor, origin: Provenance, moments: list[float]
    ) -> list[Step]:
        tokens, length = chunk.tokens_per_step, chunk.frames_per_step
        count = -(-len(frames) // length)
        if self.policy.options.cache_features:
            contents, vision = chunk.depths.split(tokens), chunk.vision or 0.0
        else:
            short = count * length - len(frames)
            contents = torch.cat((frames, frames[-1:].repeat(short, 1, 1, 1))).split(length)
            vision = 0.0
        fields = (origin.frame, origin.seconds, origin.patch)
        parts = zip(*(field.split(tokens) for field in fields), strict=True)
        return [
            Step(content.clone(), Provenance(*part), vision, count, moment)
            for content, part, moment in zip(contents, parts, moments, strict=True)
        ]

    def _restored(
        self,
        size: VisualChunk,
        content: Tensor,
        number: int,
        seconds: float,
        spent: float,
        moment: float | None = None,
    ) -> Step:
        """`moment` is not in files of versions without text between frames."""
        example = size.depths[: size.tokens_per_step]
        if not self.policy.options.cache_features:
            assert self._frame_size is not None
            example = torch.empty(size.frames_per_step, *self._frame_size, 3, dtype=torch.uint8)
        if content.shape != example.shape or content.is_floating_point() != (
            example.is_floating_point()
        ):
            raise ValueError(
                f"a retained frame is {content.dtype} of {tuple(content.shape)}, expected "
                f"{example.dtype} of {tuple(example.shape)}"
            )
        content = content.to(example.device, example.dtype)
        if not torch.isfinite(content).all():
            raise ValueError("a retained frame holds values that are not finite")
        count = size.tokens_per_step
        origin = Provenance(
            torch.full((count,), number),
            torch.full((count,), seconds, dtype=torch.float64),
            torch.arange(count),
        )
        moment = seconds if moment is None else moment
        return Step(content, origin, float(spent), 1, float(moment))

    def _chunk(self, steps: list[Step], size: VisualChunk) -> VisualChunk:
        """The steps as one chunk, their texts included."""
        device = size.features.device  # contents may rest in host memory
        moved = [step.content.to(device, non_blocking=True) for step in steps]
        contents = torch.cat(
            moved if self.policy.options.cache_features else [s.content for s in steps]
        )
        if self.policy.options.cache_features:
            self._spared = steps
            chunk = size.of_depths(contents)
        else:
            lap = Lap(self._stream.device)
            chunk = self._stream.see(contents)
            self._spent = lap.stop()
        return self._stream.with_text(chunk, [step.moment for step in steps])
