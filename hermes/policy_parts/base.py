"""What a memory policy is: it says which visual tokens of each layer stay.

Shapes: l layers, n visual tokens (the same in every layer of a stack), h query heads, g key heads,
q new tokens, d head width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from hermes.config import MemoryConfig
from hermes.layout import MemoryLayout
from hermes.memory import StreamMemory
from hermes.policy_parts.guidance import Guidance
from hermes.policy_parts.options import NoOptions, read_options
from hermes.policy_parts.state import PolicyState, check_names
from hermes.positions import PositionRule
from hermes.store.layer_stack import LayerStack

Observer = Callable[[int, Tensor, Tensor, float], None]
"""Called per layer with rotated queries (h, q, d), rotated keys (g, n + q, d) of everything up to
and with the new tokens (prefix included), and the scaling of the logits."""

Recall = Callable[[int, Tensor], None]
"""Called per layer, before the prompt is read there, with the un-rotated queries (h, q, d) of the
question's own tokens; of the whole prompt where the question does not occur in it as it stands."""


class Policy(ABC):
    """Chooses what stays when a layer holds more than its capacity.

    A new policy is one file with one subclass, one line in `hermes.policies.POLICIES`, and one
    parameter in the policy tests. It must be deterministic for a given configuration.

    The engine calls `observer` before a chunk is read, then, if something overflows, `guidance`,
    `select` and `evicting`, and `recall` when a question comes.
    """

    evicts: ClassVar[bool] = True
    """False for a policy that keeps everything."""
    works_at_question_time: ClassVar[bool] = False
    """True if a question costs more than its own prefill; that work is part of the first token."""
    takes_budget_weights: ClassVar[bool] = False
    """True if bands of layers may have different budgets."""
    keeps: ClassVar[str] = "tokens"
    """What of the stream: a name in `inference.kept.registry.KEPT`."""
    reprefills: ClassVar[bool] = False
    """True if nothing is remembered but frames, read afresh for each question."""
    needs_equal_frames: ClassVar[bool] = False
    """True if all frames of a stream must have equally many rows and columns of tokens."""
    defines: ClassVar[Mapping[str, Any]] = {}
    """Fields of `MemoryConfig` without which it would be another policy, and their values. They win
    over presets of family and data set; a user who names another value is told so."""
    Options: ClassVar[type[Any]] = NoOptions
    """Frozen, self-checking dataclass of the settings of this policy alone."""

    def __init__(self, config: MemoryConfig, layout: MemoryLayout) -> None:
        self.config = config
        self.layout = layout
        self.budgets = layout.budgets(config)
        """Visual tokens that each layer may hold."""
        self.options = read_options(config.policy, self.Options, config.policy_options)

    def guidance(self, layer: int) -> Guidance | None:
        """The guidance text whose attention `layer` needs for its score, or None."""
        return None

    def folds(self, layer: int) -> bool:
        """Whether `layer` folds what it evicts into a summary token."""
        return False

    def capacity(self, layer: int) -> int:
        """Visual tokens `layer` may keep; its summary token is counted in the budget."""
        return self.budgets[layer] - self.folds(layer)

    def budget(self, stack: LayerStack) -> int:
        """Visual tokens that each layer of a stack may hold, its summary token among them."""
        return self.budgets[stack.layers.start]

    def overflows(self, stacks: Sequence[LayerStack], num_new: int = 0) -> bool:
        """Whether any layer of these stacks would exceed its capacity with so many tokens more."""
        return self.evicts and any(
            stack.num_visual + num_new > self.capacity(layer)
            for stack in stacks
            for layer in stack.layers
        )

    def reset(self) -> None:  # noqa: B027 - most policies hold no state
        """Forget what belongs to a stream; called when the memory is cleared."""

    def state(self) -> PolicyState:
        """What belongs to a stream beside its memory, between two calls of the engine; whoever
        overrides `reset` says it here, or the stream cannot be saved."""
        return {}

    def load_state(self, state: PolicyState, memory: StreamMemory) -> None:
        """Take over what `state` has returned; called on a policy that has seen nothing.

        Args:
            memory: that of the saved stream, in host memory whatever the devices of the model:
                states go there when they are first used.

        Raises:
            KeyError, TypeError, ValueError: something is missing, unknown, or cannot be.
        """
        check_names(state)

    def observer(self, memory: StreamMemory, num_new: int) -> Observer | None:
        """What looks at the attention of `num_new` visual tokens while they are read, or None."""
        return None

    def folding(self, stack: LayerStack) -> slice | None:
        """The layers of a stack that fold now, by their index in it; None if none do, or if
        nothing leaves the stack.

        Raises:
            ValueError: they are not neighbours.
        """
        found = [index for index, layer in enumerate(stack.layers) if self.folds(layer)]
        if not found or not self.overflows([stack]):
            return None
        if found[-1] - found[0] + 1 != len(found):
            raise ValueError(f"layers that fold must be neighbours, got {found}")
        return slice(found[0], found[-1] + 1)

    @abstractmethod
    def select(self, stack: LayerStack, attention: Tensor | None) -> Tensor:
        """Choose what stays in the layers of a stack. Called only when `overflows`.

        Args:
            stack: not to be changed.
            attention: (l, n) fp32 attention that each layer's `guidance` text pays to the visual
                tokens, zero where no guidance is asked for; None where none of them asks.

        Returns:
            (l, k) ascending int64 indices in [0, n), at most `budget` of them. In layers that fold
            the last one repeats the one before it: its slot is the summary's.
        """

    def choose(self, memory: StreamMemory, attention: Sequence[Tensor | None]) -> list[Tensor]:
        """`select` for every stack; for policies that must see all layers first."""
        return [
            self.select(stack, seen) for stack, seen in zip(memory.stacks, attention, strict=True)
        ]

    def preferences(
        self, memory: StreamMemory, attention: Sequence[Tensor | None]
    ) -> Sequence[Tensor | None]:
        """Per stack (l, n), larger is rather kept; asked after `choose`, and only where text has to
        stay with its frame: what was chosen then gives way in this order. None: frames of which
        most was chosen, then the newest tokens."""
        return [None] * len(memory.stacks)

    def evicting(  # noqa: B027 - most policies let go without a word
        self, memory: StreamMemory, attention: Sequence[Tensor | None], kept: Sequence[Tensor]
    ) -> None:
        """Last look before everything outside `kept` leaves: archive it, or write prototypes into
        kept slots (`StreamMemory.replace`). `attention` and `kept` as in `choose`."""

    def recall(
        self, memory: StreamMemory, rule: PositionRule
    ) -> tuple[StreamMemory, Recall | None]:
        """The memory that a question reads, and what fills its layers while it is read.

        The stream's own memory is not changed. Only policies that declare
        `works_at_question_time` return anything but it.
        """
        return memory, None

    @property
    def layers_per_frame(self) -> int:
        """Layers of the language model that a frame passes when it is watched."""
        return self.layout.num_layers

    @property
    def device_bytes(self) -> int:
        """Bytes this policy holds on the model's devices, beside the memory."""
        return 0

    @property
    def host_bytes(self) -> int:
        """Bytes this policy holds in host memory."""
        return 0
