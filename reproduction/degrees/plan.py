"""What is compared: streams, memories, budgets and rates, as one list of comparisons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hermes.policy_text import POLICY_NAMES
from video_qa.comparison.arguments import FLOORS
from video_qa.nanostream.degrees import DEGREES

BUDGETS = (128, 64, 32)
"""Visual tokens per layer: a half, a quarter, an eighth of what hermes-nano was trained on."""
BASE_FPS = 1.0
OTHER_RATES = (0.5, 2.0)
RATES_BUDGET = 64
NOT_A_MEMORY = ("none", "blank_frames")
"""Beyond the model's range whatever the streams; a floor."""
MEMORIES = tuple(name for name in POLICY_NAMES if name not in NOT_A_MEMORY)
AT_OTHER_RATES = ("two_speed", "hermes", "recent", "uniform", "uniform_frames", "keyrec")
VARIANTS = (
    *("hermes", "hermes:reindex=eager", "hermes:profile=paper"),
    *("hermes:profile=paper:reindex=eager", "none:position_limit=8192"),
)
"""Both profiles, lazy and eager; no memory at all, at positions the model has never seen."""
TRADE = (
    *(
        f"{name}:recent_share={share}"
        for name in ("confirmed_novelty", "two_speed")
        for share in (0.125, 0.5, 0.75)
    ),
    *("confirmed_novelty", "two_speed", "hermes", "recent"),
    "two_speed:attention_weight=1:keyframe_share=0:recent_share=0.5:floor_share=0.5",
)
"""How our memories trade the recent past for the far past, and what two_speed was planned to be."""
PARTS = ("memories", "rates", "variants", "trade")


@dataclass(frozen=True)
class Length:
    """How long streams are, how many there are, and how much is asked about each."""

    name: str
    seconds: int
    num_streams: int
    questions_per_task: int


LENGTHS = (Length("4x", 256, 40, 5), Length("16x", 1024, 6, 8))
"""Against the 64 frames that hermes-nano was trained on at most."""


@dataclass(frozen=True)
class World:
    """The streams of one degree and length; all of them are written, so that watching more of them
    later continues what was watched."""

    degree: str
    length: Length

    @property
    def name(self) -> str:
        """Of its folders."""
        return f"{self.degree}_{self.length.name}_q{self.length.questions_per_task}"


@dataclass(frozen=True)
class Comparison:
    """Memories that watch the same streams side by side at one rate."""

    part: str
    world: World
    sample_fps: float
    policies: tuple[str, ...]
    budgets: tuple[int, ...]
    num_streams: int
    """The first of the world's."""

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.world.name}, {self.sample_fps:g} fps, {self.part}"

    @property
    def num_runs(self) -> int:
        """Memories times budgets, floors among them."""
        return len(self.policies) * len(self.budgets)

    def folder(self, root: Path) -> Path:
        """Where its table lies; the runs lie beside it, and parts share them."""
        return root / self.world.name / f"{self.part}-fps{self.sample_fps:g}"


@dataclass(frozen=True)
class Plan:
    """What was asked for on the command line."""

    degrees: tuple[str, ...] = tuple(DEGREES)
    lengths: tuple[Length, ...] = LENGTHS
    num_streams: dict[str, int] = field(default_factory=dict)
    """By name of the length; all of its streams where it is not named."""
    policies: tuple[str, ...] = MEMORIES
    budgets: tuple[int, ...] = BUDGETS
    rates: tuple[float, ...] = OTHER_RATES
    parts: tuple[str, ...] = PARTS
    ours: str = "two_speed"
    """Is among the memories at other rates, whatever it is."""

    def worlds(self) -> list[World]:
        """Length by length, so that a stopped run has all degrees of the first."""
        return [
            World(degree, length)
            for length in self.lengths
            if self.streams_of(length)
            for degree in self.degrees
        ]

    def streams_of(self, length: Length) -> int:
        """How many of a length are watched; 0 leaves it out."""
        return self.num_streams.get(length.name, length.num_streams)

    def comparisons(self) -> Iterator[Comparison]:
        """Part by part, the most important first."""
        for part in (part for part in PARTS if part in self.parts):
            for world in self.worlds():
                yield from self._of(part, world)

    def _of(self, part: str, world: World) -> Iterator[Comparison]:
        budget = (RATES_BUDGET,)
        rates: Sequence[float] = (BASE_FPS,)
        policies, budgets = (*self.policies, *FLOORS), self.budgets
        if part == "rates":
            rates = self.rates if world.length.name == self.lengths[0].name else ()
            named = dict.fromkeys((self.ours, *AT_OTHER_RATES))
            policies, budgets = tuple(name for name in named if name in self.policies), budget
        elif part in ("variants", "trade"):
            policies, budgets = {"variants": VARIANTS, "trade": TRADE}[part], budget
        for rate in rates:
            count = self.streams_of(world.length)
            yield Comparison(part, world, rate, tuple(policies), tuple(budgets), count)
