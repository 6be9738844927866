"""`own_kinds`: what is of the kinds that the customer buys, sold before or not.

A kind is a category with a brand; above it stand the category and its shallower levels. How much more than the shop's
average a customer buys of a kind is the posterior mean of a Gamma-Poisson model (Clayton & Kaldor, Biometrics 1987,
eq. 2) whose prior is the level above: (n + strength * above) / (expected + strength). The same model says how often a
product sells a day, its prior being its kind: what came today is taken to sell like its kind, what has long stood there
unsold is not. Taste orders the kinds; sales, raised to a small power, the products within one.
"""

import json
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from features.arrays import Bools, Float32s, Float64s, Int32s, Int64s
from features.dataset import Dataset, Entities
from features.history import DAY_US
from features.ids import IdMap
from models.arrivals import Arrivals, grown_to
from models.query import NOTHING, Candidates, Query, top_candidates
from models.recommenders.evidence import EvidenceConfig, read_profile, weigh_events
from models.recommenders.newest import UNKNOWN, first_seen


class OwnKindsConfig(BaseModel):
    """Settings of `own_kinds`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    strength: float = Field(
        0.1, gt=0, description="Purchases to be expected of a customer in a kind before his own count half there."
    )
    sales_exponent: float = Field(0.05, gt=0, le=1, description="What sales say against taste; 1: as much.")
    prior_days: float = Field(30.0, gt=0, description="Days for sale before a product is judged by its own sales.")
    sales_half_life_days: float = Field(60.0, gt=0, description="A sale of the shop this old counts half.")
    half_life_days: float = Field(180.0, gt=0, description="An event of the profile this old counts half.")
    profile_items: int = Field(1000, ge=1, description="Most items of a history that are counted: the weightiest.")
    evidence: EvidenceConfig = Field(default=EvidenceConfig(), description="What events count, in purchases.")


@dataclass(frozen=True, eq=False)
class OwnKindsModel:
    """The tree of kinds, and how often each product sells.

    Attributes
    ----------
    kind : int32 [n_items]
        The deepest kind of each product, -1 for products without category and brand.
    names : IdMap [n_kinds]
        What each kind is called, see `_name`.
    parent : int32 [n_kinds]
        The level above, -1 at the top; kinds are numbered level by level, so that a parent comes first.
    level_start : int64 [n_levels + 1]
        First kind of each level.
    share : float64 [n_kinds]
        Of all that the shop's customers wanted.
    usual : float32 [n_kinds]
        Appeal of a product that came this moment.
    members, indptr : int32 [n_kinded], int64 [n_kinds + 1]
        Products whose deepest kind it is, the best seller first, ties by index.
    appeal : float32 [n_items]
        Sales a day relative to the shop's mean, to the power of `sales_exponent`; > 0 for products with a kind.
    """

    config: OwnKindsConfig
    kind: Int32s
    names: IdMap
    parent: Int32s
    level_start: Int64s
    share: Float64s
    usual: Float32s
    members: Int32s
    indptr: Int64s
    appeal: Float32s

    def _profile(self, query: Query) -> tuple[Int32s, Float32s]:
        c = self.config
        item_idx, weight = read_profile(query, c.evidence, c.half_life_days, len(self.kind), c.profile_items)
        kinded = self.kind[item_idx] >= 0
        return item_idx[kinded], weight[kinded]

    def _taste(self, query: Query) -> Float64s | None:
        """How many times the average the customer wants each kind: float64 [n_kinds], 0 where he never came near."""
        item_idx, weight = self._profile(query)
        if not len(item_idx):
            return None
        n = np.zeros(len(self.parent))
        at, said = self.kind[item_idx], weight.astype(np.float64)
        while len(at):
            np.add.at(n, at, said)
            at = self.parent[at]
            at, said = at[at >= 0], said[at >= 0]
        levels = [slice(a, b) for a, b in pairwise(self.level_start.tolist())]
        expected, strength = self.share * float(weight.sum()), self.config.strength
        taste = (n + strength) / (expected + strength)
        near: Bools = n > 0
        for level in levels[1:]:
            above = self.parent[level]
            taste[level] = (n[level] + strength * taste[above]) / (expected[level] + strength)
            near[level] |= near[above]
        found: Float64s = np.where(near, taste, 0.0)
        return found

    def candidates(self, query: Query, limit: int) -> Candidates:
        """Return the products of the kinds that the profile (seeds, else the decayed history) says most for."""
        taste = self._taste(query)
        if taste is None:
            return NOTHING
        first, size = self.indptr[:-1], np.diff(self.indptr)
        some = np.flatnonzero((size > 0) & (taste > 0))
        best = (taste[some] * self.appeal[self.members[first[some]]]).astype(np.float32)
        if len(some) > limit:
            # Each of the `limit` best kinds holds a product at least as good as whatever is in the others.
            some = some[best >= np.partition(best, len(best) - limit)[len(best) - limit]]
        taken = np.minimum(size[some], limit)
        before = np.cumsum(taken) - taken
        item_idx = self.members[np.repeat(first[some] - before, taken) + np.arange(int(taken.sum()))]
        score = (np.repeat(taste[some], taken) * self.appeal[item_idx]).astype(np.float32)
        return top_candidates(item_idx, score, limit)

    def score(self, query: Query, item_idx: Int32s) -> Float32s:
        """Taste times appeal: float32 [n], NaN for products without a kind or unknown, far kinds, and for strangers."""
        taste = self._taste(query)
        found = np.full(len(item_idx), np.nan, np.float32)
        known = (item_idx >= 0) & (item_idx < len(self.kind))
        known[known] = self.kind[item_idx[known]] >= 0
        if taste is not None:
            wanted = taste[self.kind[item_idx[known]]]
            score = (wanted * self.appeal[item_idx[known]]).astype(np.float32)
            found[known] = np.where(wanted > 0, score, np.float32(np.nan))
        return found

    def because(self, query: Query, item_idx: int) -> int:
        """Return the profile's weightiest item of the same kind, else of the level above it, -1 when there is none."""
        kind = int(self.kind[item_idx])
        profile, weight = self._profile(query)
        if kind < 0 or not len(profile):
            return -1
        own = self.kind[profile]
        above = self.parent[kind]
        for like in (own == kind, (own == above) | ((self.parent[own] == above) & (above >= 0))):
            if like.any():
                return int(profile[int(np.argmax(np.where(like, weight, -1.0)))])
        return -1

    def grown(self, arrivals: Arrivals) -> Self:
        """Return the model with some products added to their kinds, else to the deepest level that it knows of them.

        They are taken to sell like their kind; what the kinds themselves sell stays as it was.
        """
        told = zip(arrivals.frame["category"], arrivals.frame["brand"], strict=True)
        own = np.array([_deepest(self.names, _line(*each)) for each in told], np.int32)
        kind = grown_to(arrivals.n_items, self.kind, -1)
        appeal = grown_to(arrivals.n_items, self.appeal, 0)
        kind[arrivals.item_idx] = own
        appeal[arrivals.item_idx] = np.where(own >= 0, self.usual[own] if len(self.usual) else 0.0, 0.0)
        late = np.arange(arrivals.n_trained, arrivals.n_items, dtype=np.int32)
        late = late[kind[late] >= 0]
        old = self.members[self.members < arrivals.n_trained]
        start = np.searchsorted(kind[old], np.arange(len(self.parent) + 1))
        # All that came late to a kind appeals alike: one place in each kind's order holds them, ascending.
        late = late[np.argsort(kind[late], kind="stable")]
        place = [
            a + int(np.searchsorted(-appeal[old[a:b]], -self.usual[k], side="right"))
            for k in kind[late].tolist()
            for a, b in ((int(start[k]), int(start[k + 1])),)
        ]
        members = np.insert(old, np.array(place, np.int64), late)
        indptr = start + np.searchsorted(kind[late], np.arange(len(self.parent) + 1))
        return replace(self, kind=kind, appeal=appeal, members=members, indptr=indptr.astype(np.int64))


def fit_own_kinds(dataset: Dataset, config: OwnKindsConfig, rng: np.random.Generator) -> OwnKindsModel:  # noqa: ARG001
    """Build the tree and count; cost linear in products and events."""
    kind, names, parent, level_start = tree_of_kinds(dataset.products)
    levels = [slice(a, b) for a, b in pairwise(level_start.tolist())]
    events, n_items = dataset.product_events, len(dataset.products)
    weight = weigh_events(config.evidence, events.kind, events.at, dataset.as_of, config.sales_half_life_days)
    sold = np.maximum(np.bincount(events.item_idx, weight, n_items), 0.0)
    days = _days_for_sale(dataset, config.sales_half_life_days)
    total_sold, total_days = _up_the_tree(sold, kind, parent, levels), _up_the_tree(days, kind, parent, levels)
    kinded = kind >= 0
    mean = max(float(sold[kinded].sum()), 1.0) / max(float(days[kinded].sum()), 1.0)
    usual = np.full(len(parent), mean)
    for level in levels:
        above = usual[parent[level]] if level.start else mean
        usual[level] = (total_sold[level] + config.prior_days * above) / (total_days[level] + config.prior_days)
    rate = np.zeros(n_items)
    own = kind[kinded]
    rate[kinded] = (sold[kinded] + config.prior_days * usual[own]) / (days[kinded] + config.prior_days) / mean
    appeal = (rate**config.sales_exponent).astype(np.float32)
    fresh = ((usual / mean) ** config.sales_exponent).astype(np.float32)
    order = np.lexsort((np.arange(n_items), -appeal, kind))
    members = order[np.searchsorted(kind[order], 0) :].astype(np.int32)
    indptr = np.searchsorted(kind[members], np.arange(len(parent) + 1)).astype(np.int64)
    share = total_sold / max(float(sold[kinded].sum()), 1e-9)
    return OwnKindsModel(config, kind, names, parent, level_start, share, fresh, members, indptr, appeal)


def tree_of_kinds(products: Entities) -> tuple[Int32s, IdMap, Int32s, Int64s]:
    """Return each product's deepest kind, the kinds' names and parents, and each level's first (`OwnKindsModel`)."""
    category, paths = products.codes("category")
    brand, brands = products.codes("brand")
    pair = (category.astype(np.int64) + 1) * (len(brands) + 1) + brand + 1
    pairs, place = np.unique(pair, return_inverse=True)
    codes = [divmod(int(each), len(brands) + 1) for each in pairs]
    lines = [_line((None, *paths)[one], (None, *brands)[other]) for one, other in codes]
    names = sorted({line[:depth] for line in lines for depth in range(1, len(line) + 1)}, key=lambda n: (len(n), n))
    number = {name: row for row, name in enumerate(names)}
    kind = np.array([number.get(line, -1) for line in lines], np.int32)[place]
    parent = np.array([number.get(name[:-1], -1) for name in names], np.int32)
    depth = np.array([len(name) for name in names], np.int64)
    level_start = np.searchsorted(depth, np.arange(1, depth.max(initial=0) + 2)).astype(np.int64)
    return kind, IdMap.of(map(_name, names)), parent, level_start


def _line(category: str | None, brand: str | None) -> tuple[str, ...]:
    """Return the names from the shallowest level down; a brand's name is marked, as a category may be called alike."""
    levels = tuple(part for part in (category or "").split("/") if part)
    return (*levels, f"brand={brand}") if brand else levels


def _name(line: tuple[str, ...]) -> str:
    """Write a line as one text: JSON, as any sign may stand in a category."""
    return json.dumps(line, ensure_ascii=False)


def _deepest(names: IdMap, line: tuple[str, ...]) -> int:
    """Return the deepest kind known on a line, -1 when none is."""
    found = (names.idx(_name(line[:depth])) for depth in range(len(line), 0, -1))
    return next((kind for kind in found if kind >= 0), -1)


def _up_the_tree(amount: Float64s, kind: Int32s, parent: Int32s, levels: list[slice]) -> Float64s:
    """Sum products' amounts by kind, each with all below it: float64 [n_kinds]."""
    total = np.bincount(kind[kind >= 0], amount[kind >= 0], len(parent)).astype(np.float64)
    for level in levels[:0:-1]:
        total += np.bincount(parent[level], total[level], len(total))
    return total


def _days_for_sale(dataset: Dataset, half_life_days: float) -> Float64s:
    """Days that each product has been for sale, decayed like sales: float64 [n_items]; all days where none is known."""
    arrived_at = first_seen(dataset)
    opened = int(dataset.product_events.at.min(initial=dataset.as_of))
    age_days = (dataset.as_of - np.where(arrived_at > UNKNOWN, np.maximum(arrived_at, opened), opened)) / DAY_US
    life = half_life_days / np.log(2.0)
    decayed: Float64s = life * (1.0 - np.exp(-age_days / life))
    return decayed
