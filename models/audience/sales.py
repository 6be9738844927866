"""What was done with each product before a moment, found by product: a target looks at its own events alone."""

from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np
import scipy.sparse as sp

from features.arrays import Bools, Float64s, Int32s, Int64s, UInt8s
from features.columns import EventKind
from features.history import DAY_US, Histories
from models.audience.crowd import Crowd, counts, extremes

LOOKED: Final = tuple(int(EventKind[kind]) for kind in ("view", "click", "cart", "favorite", "share"))
KIN_HALF_LIFE: Final = 90.0
MOST_KEPT: Final = 512  # answers about kin that are kept: targets of one category ask the same again


@dataclass(frozen=True, eq=False, slots=True)
class Bought:
    """Purchases of some products: customer (int32 [n], ascending) and days before the moment (float64 [n])."""

    who: Int32s
    days: Float64s

    def half_lives(self, days: float, n: int) -> Float64s:
        """Count purchases by customer, one as old as `days` half: float64 [n]."""
        return np.bincount(self.who, np.exp2(-self.days / days), n).astype(np.float64)


@dataclass(frozen=True, eq=False, slots=True)
class Kin:
    """How much each customer buys of a kind of product: decayed count, days since, count; float64 [n_customers]."""

    recent: Float64s
    since: Float64s
    count: Float64s


@dataclass(frozen=True, eq=False, slots=True)
class Sales:
    """The events of all customers before a moment.

    Attributes
    ----------
    n_customers : int
    rows : CSC bool [n_events, n_items]
        The events of each product.
    who : int32 [n_events]
    kind : uint8 [n_events]
    basket : int32 [n_events]
        Baskets numbered through all customers, ascending with them; -1 for what is no purchase.
    n_baskets : int
    at : int64 [n_events]
    as_of : int
        The moment; UTC µs, as `at`.
    """

    n_customers: int
    rows: sp.csc_array
    who: Int32s
    kind: UInt8s
    basket: Int32s
    n_baskets: int
    at: Int64s
    as_of: int
    _kin: dict[tuple[str, bytes], Kin] = field(default_factory=dict)

    @classmethod
    def of(cls, events: Histories, n_items: int, as_of: int) -> Self:
        """Index some events; cost linear, no sort."""
        n, basket = len(events), events.basket_idx.astype(np.int32)
        # One entry in each event's row: turning it round is a counting sort.
        entries = (np.ones(n, np.bool_), events.item_idx, np.arange(n + 1, dtype=np.int32))
        rows = sp.csr_array(entries, shape=(n, n_items)).tocsc()
        n_baskets = int(basket.max(initial=-1)) + 1
        return cls(events.n_customers, rows, events.customer_idx, events.kind, basket, n_baskets, events.at, as_of)

    def of_items(self, item_idx: Int32s) -> Int64s:
        """Return the events of some products, ascending: int64 [≤ n_events]."""
        found: Int64s = np.sort(self.rows[:, item_idx].indices).astype(np.int64)
        return found

    def bought(self, rows: Int64s) -> Bought:
        """Return the distinct (customer, basket) pairs of the purchases among some events, ascending."""
        rows = rows[self.kind[rows] == EventKind.purchase]
        first = np.full(self.n_baskets, -1, np.int64)
        first[self.basket[rows[::-1]]] = rows[::-1]  # of several the last assignment holds: the earliest event
        first = first[first >= 0]
        return self._pick(first)

    def looked(self, rows: Int64s) -> Bought:
        """Return the looks among some events, each for itself."""
        rows = rows[np.isin(self.kind[rows], LOOKED)]
        return self._pick(rows)

    def _pick(self, rows: Int64s) -> Bought:
        return Bought(self.who[rows], (self.as_of - self.at[rows]) / DAY_US)

    def kin(self, name: str, codes: Int32s, wanted: Int32s) -> Kin:
        """Return what everybody buys of the products with the wanted codes (`codes` int32 [n_items])."""
        key = (name, wanted.tobytes())
        if key not in self._kin:
            if len(self._kin) >= MOST_KEPT:
                self._kin.clear()
            kept: Bools = np.isin(codes, wanted)
            found, n = self.bought(self.of_items(np.flatnonzero(kept).astype(np.int32))), self.n_customers
            since = extremes(found.who, found.days, n)[0]
            self._kin[key] = Kin(found.half_lives(KIN_HALF_LIFE, n), since, counts(found.who, n))
        return self._kin[key]


def sales_before(crowd: Crowd, events: Histories) -> Sales:
    """Index what the customers of a crowd did before its moment."""
    return Sales.of(events, crowd.n_items, crowd.as_of)
