"""The first layers at ingest, an index of it all, a few units in full when asked: ShallowStream.

arXiv 2609.02780. Every frame passes the vision tower and the first `depth` layers of the language
model; its embeddings and the keys of these layers go to host memory. When a question comes, its
last token looks for evidence there, and the units found and the newest ones are read from their
embeddings at full depth, in time order. A unit is one frame (or temporal patch).

Evidence: in every shallow layer the `top_tokens` most attended tokens vote for their unit; of the
`pool_size` units with most votes some are taken by max-min diversity of their mean keys, the one
with most votes first; each brings `num_preceding` units before it.

Deviations: only reading notes of the paper were known.
- The gate, which asks the model by a fixed prompt whether to retrieve at all, is left out: its
  words are not in the notes. Every question retrieves, as long as not everything fits.
- kv_size bounds what is read, in the paper's proportions: 6 newest units to 8 found ones with one
  unit before each (`recent_share` is 6 / 22); found units that overlap leave room unused.
- The shallow layers see the prefix and the frames of one chunk (paper: a window of 64 units of
  Qwen3-VL, 128 of LLaVA-OneVision), and the prompt after the prefix alone.
- Queries and keys are un-rotated, so that age does not count, as `rekv` does.
- The newest units are no candidates. Ties go to the earlier unit.
- Merging of old units into clusters is left out: `max_units` lets the oldest leave instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from hermes.memory import StreamMemory
from hermes.policy_parts.archive.stored_parts import checked
from hermes.policy_parts.options import check_count, check_share
from hermes.policy_parts.reprefill_base import ReprefillOptions, ReprefillPolicy
from hermes.policy_parts.state import PolicyState, check_names, frame_numbers
from hermes.scores.attention import mean_attention


@dataclass(frozen=True)
class ShallowStreamOptions(ReprefillOptions):
    """Sizes from the notes on arXiv 2609.02780."""

    depth: int = 4
    """Layers run at ingest: 4 of LLaVA-OneVision-7B, 5 of Qwen3-VL-8B there."""
    top_tokens: int = 64
    pool_size: int = 32
    num_preceding: int = 1
    recent_share: float = 6 / 22
    """Share of the units read that are the newest; at least one is."""
    max_units: int | None = None
    """Units in the index; None: all (paper)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("depth", "top_tokens", "pool_size"):
            check_count(name, getattr(self, name))
        check_count("num_preceding", self.num_preceding, minimum=0)
        check_share("recent_share", self.recent_share)
        if self.max_units is not None:
            check_count("max_units", self.max_units)
        if not self.cache_features:
            raise ValueError("cache_features must be true: the index holds features")


class ShallowStream(ReprefillPolicy):
    """Watching is cheap and forgets nothing; asking searches."""

    keeps: ClassVar[str] = "frames and an index"
    Options = ShallowStreamOptions

    @property
    def depth(self) -> int:
        """Layers run at ingest."""
        return min(self.options.depth, self.layout.num_layers)

    @property
    def layers_per_frame(self) -> int:
        """The same."""
        return self.depth

    def reset(self) -> None:
        """An empty index."""
        self._keys: dict[int, Tensor] = {}
        """Frame number -> (depth, g, t, d) un-rotated keys, in host memory."""
        self._content_bytes = 0

    def state(self) -> PolicyState:
        """The index."""
        named = {f"index_{number}": keys for number, keys in self._keys.items()}
        return {"indexed": list(self._keys), **named}

    def load_state(self, state: PolicyState, memory: StreamMemory) -> None:
        """One tensor of keys per unit."""
        numbers = frame_numbers(state, "indexed")
        check_names(state, "indexed", *(f"index_{number}" for number in numbers))
        like = memory.stacks[0].keys
        for number in numbers:
            name, keys = f"index_{number}", state[f"index_{number}"]
            length = keys.shape[2] if keys.dim() == 4 else 0
            shape = torch.Size((self.depth, like.shape[1], length, like.shape[3]))
            self._keys[number] = checked(name, keys, shape, like.dtype)

    def refuse_gaps(self, numbers: list[int]) -> None:
        """Raise ValueError unless exactly these frames are indexed."""
        if list(self._keys) != numbers:
            raise ValueError("the index and the retained frames are not the same")

    def index(self, number: int, keys: Tensor) -> None:
        """Note the (depth, g, t, d) keys of a unit."""
        self._keys[number] = _to_host(keys)

    def retain(self, numbers: list[int], count: int) -> list[int]:
        """Everything, or the newest `max_units`; never fewer than a question reads."""
        limit = self.options.max_units
        kept = 0 if limit is None else max(0, len(numbers) - max(limit, count))
        for number in set(self._keys) & set(numbers[:kept]):
            del self._keys[number]
        return list(range(kept, len(numbers)))

    def absorb(
        self, numbers: list[int], contents: Sequence[Tensor], count: int
    ) -> tuple[list[int], list[Tensor]]:
        """Embeddings go to host memory."""
        kept, held = super().absorb(numbers, contents, count)
        held = [_to_host(content) for content in held]
        self._content_bytes = sum(map(_num_bytes, held))
        return kept, held

    def pick(self, numbers: list[int], count: int) -> list[int]:
        """The newest, where no question is known."""
        return list(range(max(0, len(numbers) - count), len(numbers)))

    def search(
        self, numbers: list[int], count: int, queries: Sequence[Tensor], scaling: Sequence[float]
    ) -> list[int]:
        """Ascending indices of at most `count` units that a question reads. Waits for the device
        twice, however many layers look.

        Args:
            queries: (h, d) of the last token of the prompt, un-rotated, per shallow layer.
            scaling: of the logits, likewise.
        """
        recent = min(count, max(1, round(self.options.recent_share * count)))
        older = numbers[: len(numbers) - recent]
        wanted = (count - recent) // (1 + self.options.num_preceding)
        if len(numbers) <= count or not wanted:
            return self.pick(numbers, count)
        device, total = queries[0].device, torch.zeros(len(older), device=queries[0].device)
        for layer, (query, factor) in enumerate(zip(queries, scaling, strict=True)):
            keys = torch.stack([self._keys[number][layer] for number in older]).to(device)
            total += votes_of(query.to(device), keys, factor, self.options.top_tokens)
        votes = total.tolist()
        ranked = sorted(range(len(older)), key=lambda unit: -votes[unit])
        pool = sorted(unit for unit in ranked[: self.options.pool_size] if votes[unit])
        deepest = keys  # of the layers that were indexed
        means = deepest[torch.tensor(pool, device=keys.device)].float().mean(dim=2).flatten(1)
        unit = normalize(means, dim=-1)
        found = most_diverse(pool, [votes[one] for one in pool], (unit @ unit.T).tolist(), wanted)
        before = range(1 + self.options.num_preceding)
        evidence = {one - step for one in found for step in before if one >= step}
        return sorted(evidence) + list(range(len(older), len(numbers)))

    @property
    def host_bytes(self) -> int:
        """Keys and embeddings; those of a loaded stream, which lie on the device until the next
        chunk, are counted from then on."""
        return self._content_bytes + sum(map(_num_bytes, self._keys.values()))


def votes_of(query: Tensor, keys: Tensor, scaling: float, count: int) -> Tensor:
    """(u,) fp32: how many of the `count` tokens most attended, mean over heads, each unit has.

    Args:
        query: (h, d).
        keys: (u, g, t, d) of u units.
    """
    units, _, length, _ = keys.shape
    flat = keys.transpose(0, 1).flatten(1, 2)
    looks = mean_attention(query[:, None], flat, scaling, slice(None), causal=False)
    voters = looks.topk(min(count, len(looks))).indices // length
    ballots = torch.ones_like(voters, dtype=torch.float32)
    return torch.zeros(units, device=keys.device).scatter_add_(0, voters, ballots)


def most_diverse(
    units: list[int], votes: list[float], similarity: list[list[float]], count: int
) -> list[int]:
    """At most `count` of the units: the one with most votes, then always the one whose largest
    similarity to those taken is smallest; the earlier one among equals."""
    left = list(range(len(units)))
    taken = [max(left, key=votes.__getitem__)] if left else []
    while len(taken) < min(count, len(units)):
        rest = [place for place in left if place not in taken]
        taken.append(min(rest, key=lambda place: max(similarity[place][one] for one in taken)))
    return [units[place] for place in taken]


def _num_bytes(part: Tensor) -> int:
    return part.nbytes


def _to_host(part: Tensor) -> Tensor:
    """There without waiting; to be read by the device again."""
    if part.device.type == "cpu":
        return part
    room = torch.empty(part.shape, dtype=part.dtype, pin_memory=True)
    return room.copy_(part, non_blocking=True)
