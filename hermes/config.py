"""Every constant of the method in one frozen dataclass, and the two profiles that fill it.

`released` is what the published tables were made with, `paper` follows the paper's text where the
two differ (probe, working-band weights). Every field can be set alone; who decides a field that
several set is said in `hermes.precedence`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from hermes.policy_parts.guidance import QUESTIONS

PROBES = ("embedding", "exact")
REINDEX_MODES = ("lazy", "eager")
SUMMARIES = ("mean", "weighted", "none")
FRAME_TEXTS = ("with_frame", "scored", "dropped")
KV_DTYPES = ("model", "int8", "fp8")


_LENGTHS = {
    "smoothing": 3,
    "budget_weights": 3,
    "working_recency_weight": 2,
    "working_decay": 2,
}


@dataclass(frozen=True)
class MemoryConfig:
    """Constants of the memory. Ratios and weights lie in [0, 1]; sizes are tokens per layer.

    A pair `(first, last)` runs linearly over the working band: `first` at its first layer, towards
    `last`, which is reached where the long-term band begins.

    Raises:
        ValueError: a field is outside its range; the message names the field and the value.
    """

    kv_size: int
    """Budget: visual tokens per layer, the protected prefix not counted."""
    policy: str = "hermes"
    """Name in `hermes.policies.POLICIES`."""
    policy_options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Settings of that policy alone; each policy checks and completes its own."""
    profile: str = "released"
    """Where the defaults came from; recorded with every result."""

    sensory_ratio: float = 0.1
    """Share of layers, from the bottom, that form the sensory band (paper section 3.2)."""
    long_term_ratio: float = 0.3
    """Share of layers, from the top, that form the long-term band."""
    sensory_recency_weight: float = 1.0
    sensory_decay: float = 20.0
    working_recency_weight: tuple[float, float] = (0.75, 0.15)
    """Eq. 3: omega_0 and omega_0 - gamma."""
    working_decay: tuple[float, float] = (20.0, 8.0)
    """Recency decay k; the paper gives no number, these are the released ones."""
    long_term_recency_weight: float = 0.0
    long_term_decay: float = 0.0
    smoothing: tuple[float, float, float] = (0.1, 0.3, 0.4)
    """Eq. 5: lambda of the sensory, working and long-term band."""
    budget_weights: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Budget of a sensory, a working and a long-term layer in relation to each other; the mean over
    all layers is `kv_size` whatever they are (the paper's ablation of budgets per band)."""
    min_max_epsilon: float = 1e-6

    summary: str = "mean"
    """How a long-term layer folds what it evicts: one of `SUMMARIES`."""
    probe: str = "embedding"
    """`embedding`: the guidance text's raw embeddings at every layer, no causal mask, as released.
    `exact`: a true forward of the guidance text through all layers."""
    reindex: str = "lazy"
    """`lazy`: renumber positions only near the model's limit. `eager`: at every pruning."""
    reindex_margin: int = 1024
    """Lazy renumbering starts when a position passes `max_positions - margin`; see
    `margin_for` for models whose whole range is below the margin. Whatever the mode, positions are
    also renumbered before a chunk or a guidance text would pass the limit."""
    position_limit: int | None = None
    """Positions stay below it; None is the model's own limit. Set it higher only to study what a
    model does beyond its trained range."""
    use_history: bool = True
    """Whether the last question and answer steer the guidance texts."""
    guidance_prompts: str = "default"
    """What the guidance texts ask: a key of `hermes.policy_parts.guidance.QUESTIONS`."""

    frame_text: str = "with_frame"
    """What becomes of text that belongs to a frame, such as its time stamp; it counts in the budget
    whichever of `FRAME_TEXTS` it is. `with_frame`: in each layer it stays as long as one token of
    its frame does. `scored`: each token stays or leaves as the policy says, which may look at
    pictures alone. `dropped`: it leaves at the first pruning. No effect on families without
    such text."""
    outer_markers: bool = True
    """Whether the marks that a family's chat template sets around a whole video are read, as from
    transformers 5.10 on; False leaves them out, as before. No effect on other families."""

    kv_dtype: str = "model"
    """How keys, values and rotated keys rest in the memory: one of `KV_DTYPES`. `model`: in the
    dtype of the model. `int8`, `fp8` (e4m3, where torch can convert it): eight bits and a scale per
    head and token; a layer is turned back when it is read."""
    chunk_frames: int = 16
    """Frames per unit of ingest; sizes the buffers."""
    seed: int = 2024
    """Seed of policies that draw."""

    set_by: dict[str, str] = field(init=False, repr=False, compare=False)
    """Field -> the layer that decided it, one of `hermes.precedence.LAYERS`; a field that is not
    listed has the method's default. In a configuration written by hand, and by
    `dataclasses.replace`, which spells out every field, all that is given counts as the user's."""

    def __new__(cls, *values: Any, **named: Any) -> Self:
        """Note which fields are given: only here can a default be told from the same value named.

        Copies and pickles come without any and bring their own record.
        """
        made = super().__new__(cls)
        given = [*(known.name for known in fields(cls)[: len(values)]), *named]
        object.__setattr__(made, "set_by", dict.fromkeys(given, "user"))
        return made

    def __post_init__(self) -> None:
        _check_positive_int("kv_size", self.kv_size)
        _check_positive_int("chunk_frames", self.chunk_frames)
        _check_positive_int("reindex_margin", self.reindex_margin, minimum=0)
        _check_positive_int("seed", self.seed, minimum=0)
        if self.position_limit is not None:
            _check_positive_int("position_limit", self.position_limit)
        _check_choice("probe", self.probe, PROBES)
        _check_choice("reindex", self.reindex, REINDEX_MODES)
        _check_choice("summary", self.summary, SUMMARIES)
        _check_choice("frame_text", self.frame_text, FRAME_TEXTS)
        _check_choice("kv_dtype", self.kv_dtype, KV_DTYPES)
        if not isinstance(self.outer_markers, bool):
            raise ValueError(f"outer_markers must be True or False, got {self.outer_markers!r}")
        _check_choice("guidance_prompts", self.guidance_prompts, tuple(QUESTIONS))
        for name, length in _LENGTHS.items():
            _check_length(name, getattr(self, name), length)
        _check_positive("budget_weights", self.budget_weights)
        for name in ("sensory_ratio", "long_term_ratio", "smoothing", "sensory_recency_weight"):
            _check_unit_interval(name, getattr(self, name))
        for name in ("working_recency_weight", "long_term_recency_weight"):
            _check_unit_interval(name, getattr(self, name))
        for name in ("sensory_decay", "working_decay", "long_term_decay", "min_max_epsilon"):
            _check_not_negative(name, getattr(self, name))
        if self.sensory_ratio + self.long_term_ratio > 1:
            raise ValueError(
                "sensory_ratio + long_term_ratio must not exceed 1, got "
                f"{self.sensory_ratio} + {self.long_term_ratio}"
            )

    def margin_for(self, max_positions: int) -> int:
        """Positions kept free before lazy renumbering starts, for a model of that range.

        The margin also has to hold a question and its answer. A model whose whole range does not
        exceed the released 1,024 would renumber at every step; for it an eighth is kept free.
        """
        if self.reindex_margin < max_positions:
            return self.reindex_margin
        return max_positions // 8


PROFILES: dict[str, dict[str, Any]] = {"released": {}, "paper": {"probe": "exact"}}
"""Profile -> fields that differ from the defaults above, which are Eq. 3. A family adds its own
(`constants` of its engine, section 5.12 of the release notes). Beyond fields, `released` renumbers
where the release would pass the position limit: before a chunk, and before a guidance text is
scored."""


def _check_positive_int(name: str, value: object, minimum: int = 1) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise ValueError(f"{name} must be an integer of at least {minimum}, got {value!r}")


def _check_choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"unknown {name} {value!r}; known: {', '.join(known)}")


def _check_length(name: str, value: object, length: int) -> None:
    if not isinstance(value, tuple) or len(value) != length:
        raise ValueError(f"{name} must be a tuple of {length} numbers, got {value!r}")


def _check_positive(name: str, numbers: tuple[float, ...]) -> None:
    if not all(0 < number < float("inf") for number in numbers):
        raise ValueError(f"{name} must be finite and greater than 0, got {numbers!r}")


def _check_not_negative(name: str, value: float | tuple[float, ...]) -> None:
    numbers = value if isinstance(value, tuple) else (value,)
    if not all(0 <= number < float("inf") for number in numbers):
        raise ValueError(f"{name} must be finite and not negative, got {value!r}")


def _check_unit_interval(name: str, value: float | tuple[float, ...]) -> None:
    numbers = value if isinstance(value, tuple) else (value,)
    if not all(0 <= number <= 1 for number in numbers):
        raise ValueError(f"{name} must lie in [0, 1], got {value!r}")
