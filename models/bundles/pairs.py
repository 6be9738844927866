"""What is bought together: how much oftener than by chance two products, or two kinds of product, share a basket.

Chance is counted by baskets as large as they are. Who has bought A has a basket that is larger than the mean one, by
`chance` = N Σ s(s-1) / (Σ s)² over baskets of s products, so B is in it by chance with 1 - (1 - share of B)^chance: on
the Complete Journey `chance` is 2.4, and without it bananas would go with everything; and whatever is in every basket
goes with nothing, however small baskets are.

A lift that few baskets speak for is drawn towards what the two kinds say of each other, and a kind's towards 1
(a gamma prior, DuMouchel, 1999, "Bayesian data mining in large frequency tables", eq. 5 with one component). What A
says of B is directed: `pull` = P(B | A) · log lift, the part of Smyth & Goodman's J-measure (1992, eq. 4) that speaks
for B: neither the rare accident nor what everybody buys anyway.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final, Self

import numpy as np
import scipy.sparse as sp
from pydantic import BaseModel, ConfigDict, Field

from features.arrays import Float32s, Float64s, Int32s, Int64s
from features.dataset import Dataset
from features.history import DAY_US


class PairsConfig(BaseModel):
    """How what is bought together is counted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    half_life_days: float = Field(180.0, gt=0, description="A basket this old counts half of one today.")
    prior: float = Field(2.0, gt=0, description="Meetings by chance that the word of two kinds is worth for a pair.")
    kind_prior: float = Field(5.0, gt=0, description="Meetings by chance that no connection is worth for two kinds.")
    least_lift: float = Field(1.25, gt=1, description="Products that are seldomer bought together do not go together.")
    least_baskets: int = Field(3, ge=1, description="A pair that fewer baskets hold is told of by its kinds alone.")
    partners: int = Field(50, ge=1, le=1000, description="Partners kept for each product: the strongest.")
    kinds: int = Field(30, ge=1, le=1000, description="Kinds kept that go with a kind: the strongest.")
    typical: int = Field(10, ge=1, le=1000, description="Products that stand for a kind: the best sold.")
    basket_items: int = Field(100, ge=2, description="Baskets of more products say nothing of what goes together.")
    block_pairs: int = Field(8_000_000, ge=1, description="Most pairs of products that are in memory at a time.")


@dataclass(frozen=True, eq=False)
class PairEvidence:
    """What products and their kinds say of each other.

    Attributes
    ----------
    chance : float
        How much larger the rest of a basket is that holds some product than the mean basket.
    total : float
        Baskets, later ones counting more.
    share : float32 [n_items]
        Share of baskets that hold a product, later ones counting more.
    baskets : int32 [n_items]
        Baskets that hold it, each counting one.
    partners : CSR float32 [n_items, n_items]
        Pull of the strongest partners of each product, in nats > 0.
    lift : float32 [n_partners]
        Lift of each entry of `partners`, drawn towards that of the kinds.
    count : int32 [n_partners]
        Baskets that hold both.
    kinds : tuple of str [n_kinds]
        Category paths, ascending.
    complements : CSR float32 [n_kinds, n_kinds]
        Lift > 1 of the kinds that go best with each.
    typical : CSR float32 [n_kinds, n_items]
        Share of baskets of the best sold products of each kind.
    openers : int32 [n]
        Products that many buy and that pull strongest, the best first: where to start when nobody says where.
    """

    chance: float
    total: float
    share: Float32s
    baskets: Int32s
    partners: sp.csr_array
    lift: Float32s
    count: Int32s
    kinds: tuple[str, ...]
    complements: sp.csr_array
    typical: sp.csr_array
    openers: Int32s

    @classmethod
    def empty(cls) -> Self:
        """Know nothing of any product."""
        nothing = sp.csr_array(np.zeros((0, 0), np.float32))
        none, no_floats = np.empty(0, np.int32), np.empty(0, np.float32)
        return cls(1.0, 0.0, no_floats, none, nothing, no_floats, none, (), nothing, nothing, none)

    @cached_property
    def kind_codes(self) -> Mapping[str, int]:
        """Code of each category path."""
        return {path: code for code, path in enumerate(self.kinds)}


OPENERS: Final = 200


def fit_pairs(dataset: Dataset, config: PairsConfig) -> PairEvidence:
    """Count pairs in all baskets; cost Σ s² over baskets of s products, memory one block of pairs at a time."""
    kind, paths = dataset.products.codes("category")
    held, age_days = basket_matrix(dataset, config.basket_items)
    vote = np.exp2(-age_days / config.half_life_days)
    n_items, total = len(dataset.products), max(float(vote.sum()), 1e-9)
    kinds = _fit_kinds(held, vote, kind, len(paths), config)
    weight, chance = _weights(held, vote), chance_of(held, vote)
    rows, columns, both, count = (np.concatenate(x) for x in zip(*_met(held, vote, config), strict=True))
    base = base_share(weight / total, chance)
    expected = weight[rows] * base[columns]
    lift = (both + config.prior * kinds.lift(kind[rows], kind[columns])) / (expected + config.prior)
    pull = pull_of(lift, base[columns])
    keep = _strongest(rows, np.where(lift >= config.least_lift, pull, 0.0), config.partners)
    indptr = np.append(0, np.cumsum(np.bincount(rows[keep], minlength=n_items))).astype(np.int64)
    partners = sp.csr_array((pull[keep].astype(np.float32), columns[keep], indptr), (n_items, n_items))
    best = np.zeros(n_items)
    np.maximum.at(best, rows[keep], pull[keep])
    worth = best * weight / total
    openers = np.lexsort((np.arange(n_items), -worth))[: min(OPENERS, int((worth > 0).sum()))]
    baskets = np.bincount(held.indices, minlength=n_items)
    return PairEvidence(
        chance, total, (weight / total).astype(np.float32), baskets.astype(np.int32),
        partners, lift[keep].astype(np.float32), count[keep].astype(np.int32), paths, kinds.complements(config.kinds),
        _typical(kind, weight / total, len(paths), config.typical), openers.astype(np.int32),
    )  # fmt: skip


def base_share(share: Float64s, chance: float) -> Float64s:
    """Return the share of baskets with something else that hold a product by chance: float64 [n]."""
    base: Float64s = 1.0 - (1.0 - np.minimum(share, 1.0)) ** chance
    return base


def pull_of(lift: Float64s, base: Float64s) -> Float64s:
    """Return P(B | A) · log lift, in nats; negative below a lift of 1."""
    pull: Float64s = np.minimum(lift * base, 1.0) * np.log(lift)
    return pull


def basket_matrix(dataset: Dataset, most_items: int) -> tuple[sp.csr_array, Float64s]:
    """Return what each basket holds, CSR float32 of ones [n_baskets, n_items], and its age: float64 [n_baskets], days.

    Baskets of more than `most_items` products are left out.
    """
    bought = dataset.product_events.purchases
    width = int(bought.order_idx.max()) + 1 if len(bought) else 1
    _, basket = np.unique(bought.customer_idx.astype(np.int64) * width + bought.order_idx, return_inverse=True)
    line = np.unique(basket.astype(np.int64) * max(len(dataset.products), 1) + bought.item_idx)
    n_baskets = int(basket.max()) + 1 if len(basket) else 0
    latest = np.full(n_baskets, -(2**62), np.int64)
    np.maximum.at(latest, basket, bought.at)
    indptr = np.append(0, np.cumsum(np.bincount(line // max(len(dataset.products), 1), minlength=n_baskets)))
    columns = (line % max(len(dataset.products), 1)).astype(np.int32)
    held = sp.csr_array((np.ones(len(line), np.float32), columns, indptr), (n_baskets, len(dataset.products)))
    fits = np.flatnonzero(np.diff(indptr) <= most_items)
    return sp.csr_array(held[fits]), (dataset.as_of - latest[fits]) / DAY_US


def _weights(held: sp.csr_array, vote: Float64s) -> Float64s:
    """Sum of the votes of the baskets that hold each column: float64 [n_columns]."""
    return np.bincount(held.indices, np.repeat(vote, np.diff(held.indptr)), held.shape[1]).astype(np.float64)


def chance_of(held: sp.csr_array, vote: Float64s) -> float:
    """Return N Σ s(s-1) / (Σ s)² of baskets CSR [N, n_items], each counting its vote; 1 where none holds two things."""
    size = np.diff(held.indptr).astype(np.float64)
    lines, pairs = float(vote @ size), float(vote @ (size * (size - 1)))
    return float(vote.sum()) * pairs / lines**2 if pairs > 0 else 1.0


def _met(held: sp.csr_array, vote: Float64s, config: PairsConfig) -> list[tuple[Int32s, Int32s, Float64s, Int64s]]:
    """Return pairs that enough baskets hold, by blocks of rows: (row, column, sum of votes, number of baskets)."""
    n_items, nothing = held.shape[1], (np.empty(0, np.int32),) * 2
    # Votes and numbers in one product: the real part adds votes, the imaginary one counts.
    arrive = sp.csr_array(
        ((np.repeat(vote, np.diff(held.indptr)) + 1j).astype(np.complex64), held.indices, held.indptr), held.shape
    )
    leave = sp.csr_array(held.T.tocsr())
    reach = np.minimum(leave.astype(bool).astype(np.int64) @ np.diff(held.indptr), n_items)
    edges = np.flatnonzero(np.diff(np.cumsum(reach) // config.block_pairs, prepend=-1, append=-2))
    found = [(*nothing, np.empty(0), np.empty(0, np.int64))]
    for start, stop in pairwise(edges.tolist() if n_items else ()):
        block = sp.coo_array(leave[start:stop] @ arrive)
        rows, columns = block.coords[0].astype(np.int32) + start, block.coords[1].astype(np.int32)
        count = np.rint(block.data.imag).astype(np.int64)
        keep = np.flatnonzero((count >= config.least_baskets) & (rows != columns))
        keep = keep[np.lexsort((columns[keep], rows[keep]))]
        found.append((rows[keep], columns[keep], block.data.real[keep].astype(np.float64), count[keep]))
    return found


def _strongest(rows: Int32s, pull: Float64s, limit: int) -> Int64s:
    """Return which entries are the `limit` greatest positive ones of their row (ties: the earlier), row by row."""
    order = np.lexsort((np.arange(len(rows)), -pull, rows))
    order = order[pull[order] > 0]
    first = np.searchsorted(rows[order], rows[order], side="left")
    kept = order[np.arange(len(order)) - first < limit]
    in_order: Int64s = kept[np.lexsort((kept, rows[kept]))]
    return in_order


@dataclass(frozen=True, eq=False)
class _KindCounts:
    """Meetings of kinds: `key` (row · n + column) int64 ascending, `both` their votes, `weight` and `base` own."""

    key: Int64s
    both: Float64s
    weight: Float64s
    base: Float64s
    prior: float

    def lift(self, rows: Int32s, columns: Int32s) -> Float64s:
        """Lift of pairs of kinds, drawn towards 1: float64 [n]; 1 for a kind that is unknown."""
        known = np.flatnonzero((rows >= 0) & (columns >= 0))
        lift = np.ones(len(rows))
        if not len(known) or not len(self.key):
            return lift
        row, column = rows[known].astype(np.int64), columns[known].astype(np.int64)
        wanted = row * len(self.weight) + column
        at = np.minimum(np.searchsorted(self.key, wanted), len(self.key) - 1)
        both = np.where(self.key[at] == wanted, self.both[at], 0.0)
        expected = self.weight[row] * self.base[column]
        # What sort of thing goes with itself are variants of it: no word on two different products.
        lift[known] = np.where(row == column, 1.0, (both + self.prior) / (expected + self.prior))
        return lift

    def complements(self, limit: int) -> sp.csr_array:
        """Return the kinds that go best with each, by pull: CSR of their lifts."""
        n = max(len(self.weight), 1)
        rows, columns = (self.key // n).astype(np.int32), (self.key % n).astype(np.int32)
        lift = self.lift(rows, columns)
        keep = _strongest(rows, pull_of(lift, self.base[columns]), limit)
        indptr = np.append(0, np.cumsum(np.bincount(rows[keep], minlength=len(self.weight))))
        return sp.csr_array((lift[keep].astype(np.float32), columns[keep], indptr), (len(self.weight),) * 2)


def _fit_kinds(held: sp.csr_array, vote: Float64s, kind: Int32s, n_kinds: int, config: PairsConfig) -> _KindCounts:
    known = np.flatnonzero(kind >= 0)
    of_kind = sp.csr_array((np.ones(len(known), np.float32), (known, kind[known])), (held.shape[1], n_kinds))
    kinds = sp.csr_array(held @ of_kind)
    kinds.data[:] = 1.0
    weighed = kinds.copy()
    weighed.data = np.repeat(vote, np.diff(kinds.indptr))
    met = sp.coo_array(kinds.T.tocsr() @ weighed)
    key = met.coords[0].astype(np.int64) * n_kinds + met.coords[1]
    order = np.argsort(key)
    weight = _weights(kinds, vote)
    base = base_share(weight / max(float(vote.sum()), 1e-9), chance_of(kinds, vote))
    return _KindCounts(key[order], met.data[order].astype(np.float64), weight, base, config.kind_prior)


def _typical(kind: Int32s, share: Float64s, n_kinds: int, limit: int) -> sp.csr_array:
    sold = np.flatnonzero((kind >= 0) & (share > 0))
    kept = sold[_strongest(kind[sold], share[sold], limit)]
    indptr = np.append(0, np.cumsum(np.bincount(kind[kept], minlength=n_kinds)))
    return sp.csr_array((share[kept].astype(np.float32), kept.astype(np.int32), indptr), (n_kinds, len(kind)))
