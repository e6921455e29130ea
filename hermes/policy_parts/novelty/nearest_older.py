"""How little each token repeats any older one, carried from one compression to the next.

A token's nearest older neighbour can only change when that neighbour leaves, so what has been
worked out stays with its token: newcomers are compared with everything older, and of the others
only orphans, whose neighbour is gone. A frame that stays whole stays whatever its tokens resemble:
they are newcomers when it is given up. The result is that of `all_pairs.stream_novelty`, which
compares all with all.

Tokens are known by frame and place in it, not by slot: however tokens were moved or removed since,
by a policy or by hand, what is carried is found again or worked out anew. Text of frames is
nobody's neighbour.

Shapes: l layers of a stack, n visual tokens, m orphans at most, g key heads, d head width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from hermes.scores.attention import adds_halves
from hermes.store.blocks import MOST_NUMBERS
from hermes.store.layer_stack import LayerStack
from hermes.store.provenance import NO_PATCH

NONE = -1
"""Nearest neighbour of a token that resembles nothing older."""
UNKNOWN = -2
"""Of a token that has not been compared, or whose neighbour is gone."""
WHOLE = -3
"""Of a token that need not be compared as long as its frame is whole."""
ROWS_AT_A_TIME = 1024
"""So many tokens are compared at a time if memory allows, in as many layers as then fit."""
ORPHAN_BATCH = 64
"""Orphans are compared in multiples of so many, so that shapes seldom change."""
_MOST_PER_FRAME = 2**20
_TEXT_KEY = -1


class Carried(NamedTuple):
    """What is known of the visual tokens of a stack; those of text know nothing."""

    keys: Tensor
    """(l, n) int64, ascending: frame and place in it; negative for text."""
    neighbours: Tensor
    """(l, n) int64 key of the nearest older token, `NONE`, `UNKNOWN` or `WHOLE`."""
    likeness: Tensor
    """(2, l, n) fp32 in [-1, 1]: mean cosine over heads with that neighbour, at least 0; largest
    one with a token of a neighbouring frame, -1 before there was one."""

    @property
    def num_bytes(self) -> int:
        """Of all three."""
        return sum(part.nbytes for part in self)

    def kept(self, rows: Tensor, whole: Tensor) -> Carried:
        """Of these (l, k) tokens alone; those of `whole` frames, (l, n) bool, are `WHOLE`."""
        neighbours = self.neighbours.masked_fill(whole, WHOLE).gather(1, rows)
        likeness = self.likeness.gather(2, rows.expand(2, -1, -1))
        return Carried(self.keys.gather(1, rows), neighbours, likeness)

    def layers(self, some: slice) -> Carried:
        """Of these layers, as views."""
        return Carried(self.keys[some], self.neighbours[some], self.likeness[:, some])

    def check(self, num_layers: int, most_tokens: int) -> None:
        """Raise ValueError unless this can be known of that many layers and tokens."""
        shape, count = self.keys.shape, self.keys.shape[-1]
        dtypes = tuple(part.dtype for part in self)
        if shape != (num_layers, count) or count > most_tokens:
            raise ValueError(f"keys are of {tuple(shape)}, layers and tokens")
        if dtypes != (torch.int64, torch.int64, torch.float32):
            raise ValueError(f"keys, neighbours and likeness are {dtypes}")
        if self.neighbours.shape != shape or self.likeness.shape != (2, *shape):
            raise ValueError("keys, neighbours and likeness differ in shape")
        if not torch.isfinite(self.likeness).all() or (self.keys.diff() < 0).any():
            raise ValueError("likeness must be finite, keys must ascend")


def token_keys(stack: LayerStack, has_text: bool) -> Tensor:
    """(l, n) keys of the visual tokens."""
    frame, patch = stack.origin.frame[:, stack.visual], stack.origin.patch[:, stack.visual]
    keys = torch.add(patch, frame, alpha=_MOST_PER_FRAME)
    return keys.masked_fill_(patch == NO_PATCH, _TEXT_KEY) if has_text else keys


def found_again(carried: Carried | None, keys: Tensor, has_text: bool) -> Carried:
    """What is known of the tokens with these (l, n) keys; neighbours that are gone are unknown."""
    if carried is None:
        likeness = torch.full((2, *keys.shape), -1.0, device=keys.device)
        neighbours = torch.full_like(keys, UNKNOWN)
        return Carried(keys, _without_text(neighbours, keys, has_text), likeness)
    keys_before, neighbours, likeness = (part.to(keys.device) for part in carried)
    place = _places(keys_before, keys)
    new = keys_before.gather(1, place) != keys
    neighbours = neighbours.gather(1, place).masked_fill_(new, UNKNOWN)
    gone = keys.gather(1, _places(keys, neighbours)) != neighbours
    neighbours.masked_fill_(gone & (neighbours >= 0), UNKNOWN)
    likeness = likeness.gather(2, place.expand(2, -1, -1))
    likeness.masked_fill_(new, -1)
    return Carried(keys, _without_text(neighbours, keys, has_text), likeness)


def _without_text(neighbours: Tensor, keys: Tensor, has_text: bool) -> Tensor:
    """Text is compared with nothing."""
    return neighbours.masked_fill_(keys < 0, NONE) if has_text else neighbours


def _places(sorted_keys: Tensor, keys: Tensor) -> Tensor:
    """(l, k) places where these (l, k) keys stand in (l, n) ascending ones, if they do."""
    return torch.searchsorted(sorted_keys, keys).clamp_(max=sorted_keys.shape[1] - 1)


def num_orphans(carried: Carried, before: int) -> Tensor:
    """() int64: most tokens of a layer among the first `before` whose neighbour is gone."""
    return (carried.neighbours[:, :before] == UNKNOWN).sum(dim=1).amax()


def unit_states(states: Tensor, dtype: torch.dtype) -> Tensor:
    """(l, n, g * d) of (l, g, n, d) states, so that a product is the mean cosine over heads;
    worked out in fp32, rounded to `dtype`."""
    layers, heads, count, width = states.shape
    if dtype == torch.float32:
        return normalize(states.float(), dim=-1).transpose(1, 2).flatten(2) / heads**0.5
    norms = torch.linalg.vector_norm(states, dim=-1, keepdim=True, dtype=torch.float32)
    norms.clamp_(min=1e-12).mul_(heads**0.5)
    unit = torch.empty(layers, count, heads, width, dtype=dtype, device=states.device)
    torch.div(states.transpose(1, 2), norms.transpose(1, 2), out=unit)
    return unit.flatten(2)


def products(rows: Tensor, columns: Tensor) -> Tensor:
    """(l, r, c) fp32 of (l, r, w) and (l, c, w); 16 bits are multiplied as they are and added up in
    fp32."""
    if adds_halves(rows):
        return torch.bmm(rows, columns.mT, out_dtype=torch.float32)
    return rows.float() @ columns.float().mT


def compare(
    carried: Carried,
    unit: Tensor,
    among: tuple[int, Tensor],
    new: Sequence[slice],
    *,
    has_text: bool,
    most_numbers: int = MOST_NUMBERS,
) -> None:
    """Find the nearest older neighbours of some tokens; written into `carried`.

    Args:
        unit: (l, n, w) `unit_states`.
        among: at least as many tokens as are wanted in any layer before new ones, and (l, before)
            bool which of them are not.
        new: tokens that follow each other, all compared.
        most_numbers: bound on the products that exist at a time.
    """
    text = carried.keys < 0 if has_text else None
    before, nearest = among[1].shape[1], carried.likeness[0]
    for rows in _rows(carried, *among, most_numbers):
        own = unit.gather(1, rows[..., None].expand(-1, -1, unit.shape[2]))
        alike = products(own, unit[:, :before])
        places = torch.arange(before, device=unit.device)
        alike.masked_fill_(places >= rows[..., None], -torch.inf)
        found, neighbours = _nearest(carried, alike, text)
        nearest.scatter_(1, rows, found)
        carried.neighbours.scatter_(1, rows, neighbours)
    block = max(1, most_numbers // max(1, unit.shape[0] * unit.shape[1]))
    for part in _blocks(new, block):
        alike = products(unit[:, part], unit[:, : part.stop])
        diagonal = alike[:, :, part.start :]
        diagonal.masked_fill_(torch.ones_like(diagonal[0], dtype=torch.bool).triu(), -torch.inf)
        nearest[:, part], carried.neighbours[:, part] = _nearest(carried, alike, text)


def _blocks(parts: Sequence[slice], most: int) -> Iterator[slice]:
    """The same tokens, at most so many at a time."""
    for part in parts:
        for start in range(part.start, part.stop, most):
            yield slice(start, min(start + most, part.stop))


def _rows(carried: Carried, count: int, needless: Tensor, most_numbers: int) -> tuple[Tensor, ...]:
    """(l, m) rows with all that are wanted, in parts; others in them are compared for nothing."""
    if not count:
        return ()
    before = needless.shape[1]
    known = needless | (carried.neighbours[:, :before] >= NONE)
    count = min(before, -(-count // ORPHAN_BATCH) * ORPHAN_BATCH)
    order = known.argsort(dim=1, stable=True)
    return order[:, :count].split(max(1, most_numbers // known.numel()), dim=1)


def _nearest(carried: Carried, alike: Tensor, text: Tensor | None) -> tuple[Tensor, Tensor]:
    """Largest of (l, r, c) likenesses, at least 0, and the keys of the tokens it belongs to."""
    columns = alike.shape[2]
    if text is not None:
        alike.masked_fill_(text[:, None, :columns], -torch.inf)
    found, places = alike.max(dim=2)
    neighbours = carried.keys.gather(1, places).masked_fill_(found <= 0, NONE)
    return found.clamp_(0, 1), neighbours


def beside(carried: Carried, unit: Tensor, frames: int, apart: int, length: int, new: int) -> None:
    """Note how much tokens of whole frames, which stand last, resemble neighbouring frames.

    Args:
        unit: (l, n, w) of all tokens.
        frames: how many whole frames there are, one after the other.
        apart: frames from one to the next that counts as its neighbour.
        length: tokens per frame.
        new: how many of the frames have not been compared yet.
    """
    pairs = min(new, frames - apart)
    if pairs < 1:
        return
    first, start = unit.shape[1] - frames * length, frames - apart - pairs
    whole = unit[:, first:].unflatten(1, (frames, length))
    early, late = slice(start, start + pairs), slice(start + apart, frames)
    alike = products(whole[:, early].flatten(0, 1), whole[:, late].flatten(0, 1))
    alike = alike.unflatten(0, (-1, pairs))
    noted = carried.likeness[1, :, first:].unflatten(1, (frames, length))
    for part, found in ((early, alike.amax(dim=3)), (late, alike.amax(dim=2))):
        torch.maximum(noted[:, part], found, out=noted[:, part])
