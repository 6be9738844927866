"""Mixing: several lists become one at a given ratio (PRODUCT.md, W4)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

KindT = TypeVar("KindT")
PickT = TypeVar("PickT")
APART: Final = 3  # places within which two picks that repeat each other are kept from standing


def mixed(
    lists: Mapping[KindT, Sequence[PickT]],
    shares: Mapping[KindT, float],
    k: int,
    repeats: Callable[[PickT, PickT], bool] = lambda _one, _other: False,
) -> list[PickT]:
    """Interleave lists, best first each, so that every beginning of the result holds about the shares asked for.

    Place by place the kind that is furthest behind its share gives its next pick (ties: the greater share, then the
    order of `shares`). One that repeats any of the last `APART` places waits for a later place of its kind; when all
    of a kind wait, the next kind goes before it. A kind that has run out leaves its places to the others.

    Parameters
    ----------
    shares : mapping
        Of each kind, at least 0, not all 0; they need not add up to 1. Kinds of share 0 only fill up what others leave.
    repeats : callable
        Whether two picks show the same thing twice: a bundle beside a product that is in it.
    """
    total = sum(shares.values())
    waiting = {kind: list(lists.get(kind, ())) for kind in shares}
    given = dict.fromkeys(shares, 0)
    order = list(shares)
    chosen: list[PickT] = []
    while len(chosen) < k and any(waiting.values()):
        behind = {kind: shares[kind] / total * (len(chosen) + 1) - given[kind] for kind in order}
        ranked = sorted(order, key=lambda kind: (shares[kind] <= 0, -behind[kind], -shares[kind], order.index(kind)))
        kind, place = _next(waiting, ranked, chosen[-APART:], repeats)
        chosen.append(waiting[kind].pop(place))
        given[kind] += 1
    return chosen


def _next(
    waiting: Mapping[KindT, list[PickT]], ranked: Sequence[KindT], near: Sequence[PickT],
    repeats: Callable[[PickT, PickT], bool],
) -> tuple[KindT, int]:  # fmt: skip
    """Return the kind that gives the next pick and which of its picks."""
    for kind in ranked:
        for place, pick in enumerate(waiting[kind]):
            if not any(repeats(pick, other) for other in near):
                return kind, place
    # Whatever is left repeats a neighbour: better twice than a gap.
    return next((kind, 0) for kind in ranked if waiting[kind])
