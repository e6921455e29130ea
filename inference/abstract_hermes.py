"""The streaming loop that all families share: start, watch a chunk, make room, answer, clear.

Shapes: f frames, q visual tokens of a chunk, e embedding width, l layers, n visual tokens kept.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from hermes import (
    Compression,
    FamilyConstants,
    MemoryConfig,
    StreamMemory,
    compress,
    configure,
    ensure_positions,
    make_policy,
)
from hermes.policies import Guidance
from hermes.policy_text import with_policy_text
from hermes.positions import PositionRule
from hermes.precedence import layers_of
from hermes.store.shared_store import Place, SharedStore
from hermes.store.storage import storage_of
from inference.answers.answering import AnswerLoop
from inference.answers.prompts import (
    Turn,
    as_request,
    guidance_hash,
    guidance_texts,
    parse_options,
    prompts_hash,
)
from inference.answers.timing import AnswerTiming, Lap
from inference.attention import choose_kernel
from inference.checkpoints.processor import Processor
from inference.decoder import Output, StreamDecoder
from inference.errors import naming_remedies
from inference.guidance import PROBES
from inference.kept.registry import kept_of
from inference.layers.execution import choose_execution
from inference.released_names import ReleasedNames
from inference.vision.frames import to_frames
from inference.vision.lookahead import Lookahead, open_lookahead
from inference.vision.visual_chunk import VisualChunk

logger = logging.getLogger(__name__)

TEXT_RESERVE_TOKENS = 1024
"""Room in the buffers for the longest prompt and answer; longer ones make the buffers grow."""


class AbstractHermes(ReleasedNames, ABC):
    """One stream over a model that is injected; any number of streams share its weights."""

    family: ClassVar[str]
    """Short name, by which saved streams know it again."""
    constants: ClassVar[FamilyConstants] = {}
    """Fields of `MemoryConfig` that differ in this family, by profile."""
    default_sample_fps: ClassVar[float]

    def __init__(
        self,
        model: Any,
        processor: Processor,
        config: MemoryConfig,
        *,
        sample_fps: float,
        attn: str = "auto",
        execution: str = "auto",
    ) -> None:
        """Wrap a loaded model; the memory is allocated when the first token arrives."""
        self.model, self.processor, self.config = model, processor, config
        self.sample_fps = sample_fps
        self.text_config = model.config.get_text_config()
        self.language_model: Any = model.model.language_model
        weight = self.language_model.embed_tokens.weight
        self.device: torch.device = weight.device
        self.dtype: torch.dtype = weight.dtype
        self.attn, kernel = choose_kernel(attn, self.device, self.dtype)
        layers = list(self.language_model.layers)
        devices = [next(layer.parameters()).device for layer in layers]
        self._asked_execution = execution
        self.execution, kind = choose_execution(execution, layers, devices)
        self.decoder = StreamDecoder(self.language_model, kernel, kind)
        self.rule = self.position_rule()
        self.max_positions = config.position_limit or self.text_config.max_position_embeddings
        self._answering = AnswerLoop(self)
        self._place: Place | None = None
        self._largest_chunk = 0
        """Tokens; of frames of the first size, where it matters."""
        self.adopt(config)

    @property
    @abstractmethod
    def init_prompt(self) -> str:
        """Text before the first frame; its tokens are never evicted."""

    @property
    def closing_prompt(self) -> str:
        """Text between the last frame and a question."""
        return ""

    def frame_text(self, seconds: float) -> tuple[str, str]:
        """Texts before and after the visual tokens of a frame (or temporal patch) of that time."""
        return "", ""

    @abstractmethod
    def position_rule(self) -> PositionRule:
        """How this family counts positions."""

    @abstractmethod
    def see(self, frames: Tensor) -> VisualChunk:
        """Turn (f, H, W, 3) uint8 frames into features and their places."""

    @abstractmethod
    def tokens_per_step(self) -> int | None:
        """Visual tokens per frame (or temporal patch), None where it depends on the frame size."""

    @property
    def frames_per_step(self) -> int:
        """Frames that share their visual tokens."""
        return self.processor.pixels.temporal_patch_size

    def adopt(self, config: MemoryConfig) -> None:
        """Begin a new stream under this configuration.

        Raises:
            ValueError: a policy or option that is unknown or cannot serve the model.
        """
        storage_of(config.kv_dtype, self.decoder.devices)
        self.policy = make_policy(config, len(self.decoder.layers))
        self.config = self.policy.config
        self.kept = kept_of(self, self.policy)
        self._memory: StreamMemory | None = None
        self._answering.forget_recorded()
        self.clear_cache()

    def configured(self, config: MemoryConfig, **named: Any) -> MemoryConfig:
        """The configuration with other fields named by the user, presets worked out anew.

        Raises:
            ValueError: as `hermes.configure`.
        """
        if not named:
            return config
        if "policy" in named:
            policy, named = with_policy_text(named.pop("policy"), named)
            named["policy"] = policy
        layers = layers_of(config)
        user = {**layers["user"], **named}
        return configure(family=self.constants, data_set=layers["data set"], **user)

    def new_stream(
        self, config: MemoryConfig | None = None, *, execution: str | None = None, **named: Any
    ) -> AbstractHermes:
        """Another stream, with its own memory, over the same weights.

        Args:
            config: default: that of this stream.
            execution: as `load_model`; default: that of this stream.
            named: fields of `MemoryConfig` that shall be others; presets are worked out anew, so
                that nothing of this stream's policy stays behind.

        Raises:
            ModelLoadError: this model cannot be executed so.
            ValueError: as `hermes.configure`.
        """
        config = self.configured(config or self.config, **named)
        return type(self)(
            self.model,
            self.processor,
            config,
            sample_fps=self.sample_fps,
            attn=self.attn,
            execution=execution or self._asked_execution,
        )

    def new_streams(
        self, count: int, config: MemoryConfig | None = None, **named: Any
    ) -> list[AbstractHermes]:
        """Several, as `new_stream`, whose buffers lie side by side: `answer_together` decodes
        their answers in one batch.

        Raises:
            ValueError: fewer than one; or as `new_stream`.
        """
        store = SharedStore(count)
        streams = [self.new_stream(config, **named) for _ in range(count)]
        for index, stream in enumerate(streams):
            stream._place = Place(store, index)
        return streams

    @property
    def memory(self) -> StreamMemory:
        """The state of this stream; allocated on first use."""
        if self._memory is None:
            self._memory = self._allocate()
        return self._memory

    def clear_cache(self) -> None:
        """Forget the stream and the dialogue; buffers are reused."""
        self.forget_frames()
        self.conv_history: list[Turn] = []

    def forget_frames(self) -> None:
        """Forget the stream but not the dialogue."""
        self._answering.refuse_interruption()
        if self._memory is not None:
            self._memory.clear()
        self.kept.clear()
        self.total_processed_frames = 0
        self.last_encoded_frames = 0
        self._compression: Lap | None = None
        self.last_compression = Compression(entered=False)
        self.last_timing: AnswerTiming | None = None
        self._fresh = False
        self._delay_seconds = 0.0
        self._tokens_per_frame: float | None = None

    @property
    def compression_seconds(self) -> float:
        """What the latest compression took; 0 before the first. The device times it, so that
        watching need not wait."""
        return self._compression.seconds if self._compression else 0.0

    @property
    def next_seconds(self) -> float:
        """Time of the next frame in the stream, if none is given with it."""
        return self._delay_seconds + self.total_processed_frames / self.sample_fps

    @property
    def last_seconds(self) -> float | None:
        """Time of the last frame in the stream; None before the first."""
        if not self.total_processed_frames:
            return None
        return self._delay_seconds + (self.total_processed_frames - 1) / self.sample_fps

    def encode_init_prompt(self) -> None:
        """Read the prompt before the first frame; from now on it is the protected prefix.

        Raises:
            RuntimeError: something has been watched already, which would become unevictable.
        """
        self._answering.refuse_interruption()
        if self.memory.num_tokens:
            raise RuntimeError("the stream has begun already; call clear_cache() first")
        self.read_text(self.init_prompt, output="none")
        self.memory.close_prefix()
        logger.debug("init prompt: %d tokens", self.memory.num_prefix)

    def encode_features(self, frames: Any) -> VisualChunk:
        """What `encode_video_chunk` makes of frames first; any stream on these weights can use it.

        Raises:
            FrameError: wrong type or shape.
        """
        lap = Lap(self.device)
        chunk = self.see(to_frames(frames))
        return replace(chunk, vision=lap.stop())

    @cached_property
    def lookahead(self) -> Lookahead:
        """Sees chunks that are at hand already before it is their turn to be read."""
        return open_lookahead(self.model, self.device)

    def look(self, frames: Any) -> VisualChunk | None:
        """What `encode_video_chunk` needs as `seen` of these frames, None for nothing; of any
        stream that keeps what this one keeps. Not timed, where nothing reports it.

        Raises:
            FrameError: wrong type or shape.
        """
        return self.kept.look(to_frames(frames))

    def encode_video_chunk(
        self,
        frames: Any,
        times_seconds: Sequence[float] | Tensor | None = None,
        seen: VisualChunk | None = None,
    ) -> None:
        """Read the next frames into the memory, which makes room first if that was forgotten.

        Args:
            frames: (f, H, W, 3) or (f, 3, H, W) uint8, tensor or array; None or empty does nothing.
            times_seconds: time of each frame in the stream; default: every 1 / sample_fps, on from
                `next_seconds`.
            seen: `encode_features` of the same frames, by any stream on the same weights.

        Raises:
            FrameError: as `Kept.receive`, or frames of a wrong type or shape.
            ContextLimitError: the policy keeps everything and the model's range is full.
            DeviceMemoryError: the device is full; the memory is as before.
        """
        if frames is None or len(frames) == 0:
            return
        frames = to_frames(frames)
        times_seconds, seen = self.prepare_chunk(frames, times_seconds, seen)
        with self.naming_remedies(f"watching {len(frames)} frames"):
            chunk = self.kept.receive(frames, times_seconds, seen)
        self.count_chunk(chunk, times_seconds)

    def prepare_chunk(
        self,
        frames: Tensor,
        times_seconds: Sequence[float] | Tensor | None,
        seen: VisualChunk | None,
    ) -> tuple[Sequence[float] | Tensor, VisualChunk | None]:
        """What comes before a chunk is read: buffers, the prompt before the first frame, room that
        was forgotten. The times of the frames, and their features if they were needed."""
        self._answering.refuse_interruption()
        first = self.total_processed_frames
        with self.naming_remedies(f"watching {len(frames)} frames"):
            if not first and not self._largest_chunk and self.tokens_per_step() is None:
                seen = seen or self.encode_features(frames)
                self._largest_chunk = seen.num_tokens_of(self.config.chunk_frames)
                if self._memory is not None:
                    self._memory.enlarge(self._largest_chunk)
            if not self.memory.num_prefix:
                self.encode_init_prompt()
        self.predict_and_compress()
        if times_seconds is None:
            numbers = torch.arange(first, first + len(frames), dtype=torch.float64)
            nominal = numbers / self.sample_fps  # fp32 loses 1/30 s after three days
            times_seconds = self._delay_seconds + nominal
        return times_seconds, seen

    def count_chunk(self, chunk: VisualChunk, times_seconds: Sequence[float] | Tensor) -> None:
        """What comes after a chunk was read."""
        first, count = self.total_processed_frames, len(times_seconds)
        self.last_encoded_frames = count
        self.total_processed_frames += count
        last_number = self.total_processed_frames - 1
        self._delay_seconds = float(times_seconds[-1]) - last_number / self.sample_fps
        self._tokens_per_frame = chunk.tokens_per_frame
        self._fresh = True
        logger.debug("Encoding frames %d to %d", first, self.total_processed_frames)

    def with_text(self, chunk: VisualChunk, moments: Sequence[float]) -> VisualChunk:
        """The chunk with the texts of its steps, whose frames lie around these seconds."""
        texts = [text for seconds in moments for text in self.frame_text(seconds)]
        if not any(texts):
            return chunk
        ids = [self.processor.encode(text).long() for text in texts]
        parts = self.embed(torch.cat(ids)).split([len(part) for part in ids])
        return chunk.between(list(zip(parts[::2], parts[1::2], strict=True)), self.rule)

    def num_text_tokens(self, seconds: float) -> int:
        """Text tokens of a step of that time."""
        return sum(len(self.processor.encode(text)) for text in self.frame_text(seconds) if text)

    def predict_and_compress(self, texts: Mapping[Guidance, str] | None = None) -> None:
        """Make room: score, prune, fold, renumber. Nothing happens without new frames.

        Args:
            texts: guidance texts that replace the usual ones of the same name.
        """
        if not self._fresh:
            return
        self._answering.refuse_interruption()
        lap = Lap(self.device)
        with self.naming_remedies("scoring the memory"):
            self.last_compression = compress(
                self.memory,
                self.policy,
                self.rule,
                self.max_positions,
                lambda wanted: self.guidance_attention(wanted, texts),
            )
        self._fresh = False
        self._compression = lap.stop()

    def guidance_attention(
        self, wanted: Mapping[int, Guidance], texts: Mapping[Guidance, str] | None = None
    ) -> list[Tensor | None]:
        """Attention of each layer's guidance text to the visual tokens, for `Policy.choose`: per
        stack (l, n), zero in layers that want none, None where all of them want none.

        Not as released, positions are renumbered first where a text would pass the model's limit.

        Raises:
            ContextLimitError: not even gapless positions leave room for the text.
        """
        probe = PROBES[self.config.probe]
        turn = self.conv_history[-1] if self.conv_history and self.config.use_history else None
        texts = {**guidance_texts(turn, self.config.guidance_prompts), **(texts or {})}
        ids = {name: self.processor.encode(texts[name]) for name in sorted(set(wanted.values()))}
        if not ids:
            return [None] * len(self.memory.stacks)
        lengths = [len(tokens) for tokens in ids.values()]
        ensure_positions(self.memory, self.rule, self.max_positions, max(lengths))
        parts = self.embed(torch.cat(list(ids.values()))).split(lengths)
        embedded = dict(zip(ids, parts, strict=True))
        return probe(self.decoder, self.memory, self.rule, embedded, wanted)

    def stream_answer(
        self,
        input_text: str | Mapping[str, str],
        max_new_tokens: int = 128,
        temperature: float = 0,
        repetition_penalty: float = 1.1,
        seed: int | None = None,
    ) -> Iterator[str]:
        """Answer from memory, piece by piece as the tokens come.

        When the iterator is exhausted or closed, keys, values and positions are what they were
        before. Pieces keep the answer's leading and trailing spaces: they steer later guidance.

        Args:
            input_text: an open question; or `question`, optionally `formatted_question` (with its
                options) and `prompt` (default: `get_prompt` of what is asked).
            max_new_tokens: the answer ends there at the latest.
            temperature: 0 takes the likeliest token.
            repetition_penalty: on the answer's own tokens; 1 is none.
            seed: of the draws at a temperature above 0; None draws from torch's own generator.

        Raises:
            TypeError: neither a text nor a mapping with a question in it.
            ContextLimitError, DeviceMemoryError, NonFiniteLogitsError, ValueError: while it runs,
                see `AnswerLoop.run`.
        """
        request = as_request(input_text)
        return self._answering.run(request, max_new_tokens, temperature, repetition_penalty, seed)

    def add_history(self, question: str, answer: str, formatted_question: str = "") -> None:
        """Enter a turn into the dialogue without generating, as a resumed run does."""
        self.conv_history.append(Turn(question, answer, parse_options(formatted_question)))

    def embed(self, ids: Tensor) -> Tensor:
        """(t,) token ids -> (t, e) embeddings."""
        with torch.no_grad():
            return self.language_model.embed_tokens(ids.to(self.device))

    def read_text(self, text: str, *, output: Output) -> Tensor | None:
        """Append text at the next free positions; hidden states as `StreamDecoder.forward`."""
        ids = self.processor.encode(text)
        placement = self.rule.text(len(ids), self.device)
        return self.decoder.forward(self.memory, self.embed(ids), placement, output=output)

    def naming_remedies(self, doing: str) -> AbstractContextManager[None]:
        """Inside, a full device or position range is an error that names the settings to change."""
        return naming_remedies(
            doing,
            self.kept.position_advice,
            kv_size=self.config.kv_size,
            chunk_frames=self.config.chunk_frames,
            max_pixels=None if self.processor.pixels.size else self.processor.pixels.max_pixels,
            dtype=str(self.dtype).removeprefix("torch."),
        )

    def describe(self) -> dict[str, Any]:
        """What a result has to record about the engine; JSON-able. `memory_bytes` is None while
        nothing is allocated and the size of a frame, which decides it, is not known."""
        per_frame = self._tokens_per_frame or self.tokens_per_step()
        seconds = self.config.kv_size / per_frame / self.sample_fps if per_frame else None
        return {
            **asdict(self.config),
            "policy_options": asdict(self.policy.options),
            "works_at_question_time": self.policy.works_at_question_time,
            "layers_per_frame": self.policy.layers_per_frame,
            "prompts_hash": prompts_hash(
                self.init_prompt, *self.frame_text(0), self.closing_prompt
            ),
            "guidance_hash": guidance_hash(self.config.guidance_prompts),
            "tokens_per_frame": per_frame,
            "horizon_seconds": seconds,
            "memory_bytes": self._num_bytes(),
            "host_bytes": self.policy.host_bytes,
            "max_positions": self.max_positions,
            "dtype": str(self.dtype).removeprefix("torch."),
            "attn": self.attn,
            "execution": self.execution,
            "sample_fps": self.sample_fps,
        }

    def _num_bytes(self) -> int | None:
        if self._memory is None and self.tokens_per_step() is None:
            return None
        return self.memory.num_bytes + self.kept.num_bytes

    def _allocate(self) -> StreamMemory:
        text = self.text_config
        head_dim = self.language_model.layers[0].self_attn.head_dim
        largest_chunk = self._largest_chunk
        if of_step := self.tokens_per_step():
            largest_chunk = self.config.chunk_frames * of_step
        prefix = len(self.processor.encode(self.init_prompt))
        return StreamMemory(
            self.decoder.devices,
            text.num_key_value_heads,
            head_dim,
            [
                prefix + budget + largest_chunk + TEXT_RESERVE_TOKENS
                for budget in self.policy.budgets
            ],
            self.dtype,
            self.decoder.angles,
            self.rule.num_axes,
            self.rule.dtype,
            self._place,
            self.config.kv_dtype,
        )
