"""What the members of a group want, put together so that nobody stands out: tastes, privacy and fairness.

Each member's own list gives points by rank (Borda): 1 for the first, falling to 0 behind the last; what is not in his
list has none. Points of members are comparable, scores of sources are not.

**Privacy.** A product comes into question only if at least `LEAST_SUPPORT` members have it in their lists, and if its
mean holds when any single member is left out: it may not fall below half. So nobody's history alone puts a product
before the group, and even a member who subtracts himself sees two others.

**Fairness.** Places are filled one after the other. Each goes to the product with the greatest weighted mean of points,
where a member weighs x^-α, x being what the list has given him so far: the steepest step of the isoelastic welfare
Σ x^(1-α) / (1-α) (Atkinson 1970, "On the measurement of inequality"). α = 0 is the average strategy, α → ∞ least misery
(Masthoff 2004, "Group modeling", strategies *average* and *least misery*), over the list as a whole rather than within
one product: of 200 people somebody dislikes everything. `fairness` f in 0 … 1 means α = f / (1 - f).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from features.arrays import Bools, Float32s, Float64s, Int32s, Int64s
from models.query import NO_ITEMS

LEAST_SUPPORT: Final = 3
HOLDS: Final = 0.5  # of the mean must remain when any one member is left out
SATED: Final = 0.1  # points everybody begins with: nobody's weight is infinite
TIE: Final = 1e-6


@dataclass(frozen=True, eq=False, slots=True)
class Tastes:
    """Points of members for products.

    Attributes
    ----------
    item_idx : int32 [n_items]
        Ascending, distinct.
    points : float32 [n_members, n_items]
        In 0 … 1.
    """

    item_idx: Int32s
    points: Float32s

    @classmethod
    def of(cls, lists: Sequence[Int32s], depth: int) -> Self:
        """Give points for each member's list, best first (at most `depth` long)."""
        item_idx = np.unique(np.concatenate([NO_ITEMS, *lists])).astype(np.int32)
        points = np.zeros((len(lists), len(item_idx)), np.float32)
        for row, ranked in enumerate(lists):
            points[row, np.searchsorted(item_idx, ranked)] = 1.0 - np.arange(len(ranked)) / depth
        return cls(item_idx, points)

    @property
    def n_members(self) -> int:
        """Number of members."""
        return len(self.points)

    @property
    def support(self) -> Int64s:
        """How many members have each product in their lists: [n_items]."""
        counted: Int64s = (self.points > 0).sum(axis=0)
        return counted

    def of_items(self, keep: Bools) -> "Tastes":
        """Return the tastes for some of the products."""
        return Tastes(self.item_idx[keep], self.points[:, keep])

    @property
    def is_shared(self) -> Bools:
        """Which products no single member explains: bool [n_items]."""
        total = self.points.sum(axis=0, dtype=np.float64)
        rest = (total - self.points.max(axis=0, initial=0.0)) / max(self.n_members - 1, 1)
        held: Bools = rest >= HOLDS * total / max(self.n_members, 1)
        return held & (self.support >= LEAST_SUPPORT)

    def covered(self, item_idx: Int32s) -> float:
        """Share of the members who have at least one of some products in their lists."""
        if not self.n_members:
            return 0.0
        return float(self.points[:, np.isin(self.item_idx, item_idx)].any(axis=1).mean())

    def support_of(self, item_idx: int) -> float:
        """Share of the members who have a product in their lists, 0 when none has."""
        place = int(np.searchsorted(self.item_idx, item_idx))
        if not self.n_members or place >= len(self.item_idx) or self.item_idx[place] != item_idx:
            return 0.0
        return float(np.count_nonzero(self.points[:, place])) / self.n_members


def fair_order(tastes: Tastes, fairness: float, limit: int) -> Int32s:
    """Return up to `limit` products in the order in which a fair list takes them: int32 [≤ limit].

    Ties go to the greater plain mean, then to the lower index. Cost: a matrix-vector product for each place.
    """
    points = tastes.points.astype(np.float64)
    mean = points.mean(axis=0) if len(points) else np.zeros(0)
    got = np.full(len(points), SATED)
    free = np.ones(len(mean), np.bool_)
    chosen: list[int] = []
    for _ in range(min(limit, len(mean))):
        weight = member_weights(got, fairness)
        gain = np.where(free, weight @ points / weight.sum() + TIE * mean, -np.inf)
        best = int(np.argmax(gain))
        chosen.append(best)
        free[best] = False
        got += points[:, best]
    order: Int32s = tastes.item_idx[chosen] if chosen else NO_ITEMS
    return order


def member_weights(got: Float64s, fairness: float) -> Float64s:
    """Return how much each member's points count who has got so much already (> 0): float64 [n], greatest 1."""
    if fairness >= 1.0:
        worst: Bools = got <= got.min(initial=np.inf) * (1 + 1e-9)
        return worst.astype(np.float64)
    weight: Float64s = (got / got.min(initial=np.inf)) ** -(fairness / (1.0 - fairness))
    return weight
