"""How little each token repeats any older one, carried from one compression to the next.

A token's nearest older neighbour can only change when that neighbour leaves, so what has been
worked out stays with its token: newcomers are compared with everything older, and of the others
only orphans, whose neighbour is gone. The result is that of `all_pairs.stream_novelty`, which
compares all with all.

Tokens are known by frame and place in it, not by slot: however tokens were moved or removed since,
by a policy or by hand, what is carried is found again or worked out anew. Text of frames is
nobody's neighbour.

Shapes: l layers of a stack, n visual tokens, m orphans at most, g key heads, d head width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from hermes.scores.attention import adds_halves
from hermes.store.blocks import MOST_NUMBERS
from hermes.store.layer_stack import LayerStack

NONE = -1
"""Nearest neighbour of a token that resembles nothing older."""
UNKNOWN = -2
"""Of a token that has not been compared, or whose neighbour is gone."""
ORPHAN_BATCH = 64
"""Orphans are compared in multiples of so many, so that shapes seldom change."""
_MOST_PER_FRAME = 2**20
_TEXT_KEY = -1


class Carried(NamedTuple):
    """What is known of the visual tokens of a stack; those of text know nothing."""

    keys: Tensor
    """(l, n) int64, ascending: frame and place in it; negative for text."""
    neighbours: Tensor
    """(l, n) int64 key of the nearest older token, `NONE` or `UNKNOWN`."""
    likeness: Tensor
    """(2, l, n) fp32 in [-1, 1]: mean cosine over heads with that neighbour, at least 0; largest
    one with a token of a neighbouring frame, -1 before there was one."""

    @property
    def num_bytes(self) -> int:
        """Of all three."""
        return sum(part.nbytes for part in self)

    def kept(self, rows: Tensor) -> Carried:
        """Of these (l, k) tokens alone."""
        pair = rows.expand(2, -1, -1)
        return Carried(
            self.keys.gather(1, rows),
            self.neighbours.gather(1, rows),
            self.likeness.gather(2, pair),
        )

    def layers(self, some: slice) -> Carried:
        """Of these layers, as views."""
        return Carried(self.keys[some], self.neighbours[some], self.likeness[:, some])

    def check(self, num_layers: int, most_tokens: int) -> None:
        """Raise ValueError unless this can be known of that many layers and tokens."""
        shape, count = self.keys.shape, self.keys.shape[-1]
        forms = {part.dtype for part in self[:2]}, self.likeness.dtype
        if (
            shape != (num_layers, count)
            or count > most_tokens
            or forms
            != (
                {torch.int64},
                torch.float32,
            )
        ):
            raise ValueError(f"keys are {self.keys.dtype} of {tuple(shape)}")
        if self.neighbours.shape != shape or self.likeness.shape != (2, *shape):
            raise ValueError("keys, neighbours and likeness differ in shape")
        if not torch.isfinite(self.likeness).all() or (self.keys.diff() < 0).any():
            raise ValueError("likeness must be finite, keys must ascend")


def token_keys(stack: LayerStack) -> Tensor:
    """(l, n) keys of the visual tokens."""
    frame, patch = stack.origin.frame[:, stack.visual], stack.origin.patch[:, stack.visual]
    keys = frame * _MOST_PER_FRAME + patch
    return keys.masked_fill_(stack.origin.is_text[:, stack.visual], _TEXT_KEY)


def found_again(carried: Carried | None, keys: Tensor) -> Carried:
    """What is known of the tokens with these (l, n) keys; neighbours that are gone are unknown."""
    if carried is None:
        likeness = torch.full((2, *keys.shape), -1.0, device=keys.device)
        return Carried(keys, torch.full_like(keys, UNKNOWN), likeness)
    keys_before, neighbours, likeness = (part.to(keys.device) for part in carried)
    place = _places(keys_before, keys)
    new = keys_before.gather(1, place) != keys
    neighbours = neighbours.gather(1, place).masked_fill_(new, UNKNOWN)
    gone = keys.gather(1, _places(keys, neighbours)) != neighbours
    neighbours.masked_fill_(gone & (neighbours >= 0), UNKNOWN)
    likeness = likeness.gather(2, place.expand(2, -1, -1))
    return Carried(keys, neighbours, likeness.masked_fill_(new, -1))


def _places(sorted_keys: Tensor, keys: Tensor) -> Tensor:
    """(l, k) places where these (l, k) keys stand in (l, n) ascending ones, if they do."""
    return torch.searchsorted(sorted_keys, keys).clamp_(max=sorted_keys.shape[1] - 1)


def num_orphans(carried: Carried, num_known: int) -> Tensor:
    """() int64: most tokens of a layer among the first `num_known` that must be compared again."""
    return _is_orphan(carried, num_known).sum(dim=1).amax()


def _is_orphan(carried: Carried, num_known: int) -> Tensor:
    rows = slice(num_known)
    return (carried.neighbours[:, rows] == UNKNOWN) & (carried.keys[:, rows] >= 0)


def unit_states(states: Tensor, dtype: torch.dtype) -> Tensor:
    """(l, n, g * d) of (l, g, n, d) states, so that a product is the mean cosine over heads;
    rounded to `dtype`."""
    heads = states.shape[1]
    unit = normalize(states.float(), dim=-1).transpose(1, 2).flatten(2) / heads**0.5
    return unit.to(dtype)


def products(rows: Tensor, columns: Tensor) -> Tensor:
    """(l, r, c) fp32 of (l, r, w) and (l, c, w); 16 bits are multiplied as they are and added up in
    fp32."""
    if adds_halves(rows):
        return torch.bmm(rows, columns.mT, out_dtype=torch.float32)
    return rows.float() @ columns.float().mT


def compare(
    carried: Carried,
    unit: Tensor,
    num_known: int,
    orphans: int,
    *,
    has_text: bool,
    most_numbers: int = MOST_NUMBERS,
) -> None:
    """Find the nearest older neighbours of orphans and newcomers; written into `carried`.

    Args:
        unit: (l, n, w) `unit_states` of the first n tokens, which are all compared.
        num_known: how many of them came before the newcomers.
        orphans: at least as many as any layer has among the known ones.
        most_numbers: bound on the products that exist at a time.
    """
    text = carried.keys[:, : unit.shape[1]] < 0 if has_text else None
    nearest = carried.likeness[0]
    for rows in _orphan_rows(carried, num_known, orphans, most_numbers):
        own = unit.gather(1, rows[..., None].expand(-1, -1, unit.shape[2]))
        alike = products(own, unit[:, :num_known])
        places = torch.arange(num_known, device=unit.device)
        alike.masked_fill_(places >= rows[..., None], -torch.inf)
        found, neighbours = _nearest(carried, alike, text)
        nearest.scatter_(1, rows, found)
        carried.neighbours.scatter_(1, rows, neighbours)
    block = max(1, most_numbers // max(1, len(unit) * unit.shape[1]))
    for start in range(num_known, unit.shape[1], block):
        new = slice(start, min(start + block, unit.shape[1]))
        alike = products(unit[:, new], unit[:, : new.stop])
        diagonal = alike[:, :, start:]
        diagonal.masked_fill_(torch.ones_like(diagonal[0], dtype=torch.bool).triu(), -torch.inf)
        nearest[:, new], carried.neighbours[:, new] = _nearest(carried, alike, text)


def _orphan_rows(
    carried: Carried, num_known: int, orphans: int, most_numbers: int
) -> tuple[Tensor, ...]:
    """(l, m) rows that hold all orphans, in parts; others among them are compared for nothing."""
    if not orphans:
        return ()
    count = min(num_known, -(-orphans // ORPHAN_BATCH) * ORPHAN_BATCH)
    order = _is_orphan(carried, num_known).byte().argsort(dim=1, descending=True, stable=True)
    return order[:, :count].split(max(1, most_numbers // (len(order) * num_known)), dim=1)


def _nearest(carried: Carried, alike: Tensor, text: Tensor | None) -> tuple[Tensor, Tensor]:
    """Largest of (l, r, c) likenesses, at least 0, and the keys of the tokens it belongs to."""
    columns = alike.shape[2]
    if text is not None:
        alike.masked_fill_(text[:, None, :columns], -torch.inf)
    found, places = alike.max(dim=2)
    neighbours = carried.keys.gather(1, places).masked_fill_(found <= 0, NONE)
    return found.clamp_(min=0), neighbours


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
        noted[:, part] = torch.maximum(noted[:, part], found)
