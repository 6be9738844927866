"""Which bundle for which customer: signals of `models.bundles.signals`, in an order learned from hidden bundles."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np
import scipy.sparse as sp
from pydantic import BaseModel, ConfigDict, Field

from features.arrays import Float32s, Float64s
from features.columns import EventKind
from features.dataset import Dataset
from features.history import Histories
from models.arrivals import grown_to
from models.bundles.lessons import Limits, Pairs, learn_bundle_lessons, propose, rule
from models.bundles.signals import (
    SIGNALS,
    BundleSignals,
    Shopper,
    SignalConfig,
    find_parts,
    fit_signals,
    signal_matrix,
)
from models.bundles.table import BundleTable
from models.items import ItemTable
from models.query import Query
from models.rank.ranker import Forests, RankerConfig, grow_forests
from models.recommenders.evidence import EvidenceConfig, pair_matrix, pairs_of, read_profile, sum_by_item, weigh_events
from models.recommenders.itemknn import weightiest
from models.seams import CandidateSource

RISING: Final = frozenset({"walk", "share_walk", "linear", "share_linear", "parts_bought", "parts_share"})
PURCHASE: Final = int(EventKind.purchase)
EVIDENCE: Final = {
    "sold": "weight", "parts_bought": "parts_bought", "nearest": "parts_nearest", "leads_here": "walk",
}  # fmt: skip
BEHIND: Final = 0.05  # of the score of what comes into question: what does not, in the order of its sales


class AffinityConfig(BaseModel):
    """Settings of what makes bundles for customers rank."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    half_life_days: float = Field(60.0, gt=0, description="A purchase this old counts half of one today.")
    profile_items: int = Field(100, ge=1, description="Most products, and bundles, of a customer that are looked at.")
    candidates: int = Field(100, ge=1, le=5000, description="Bundles that each signal brings into question.")
    hidden_share: float = Field(
        0.12, gt=0, lt=1, description="Share of each customer's bundles, at least one, that is hidden to learn from."
    )
    least_rebuys: float = Field(
        0.1, ge=0, le=1, description="From this share of repeated purchases of bundles on, what a customer has bought "
        "comes again in his order; below it comes after everything else.",
    )  # fmt: skip
    signals: SignalConfig = Field(default=SignalConfig(), description="How what speaks for a bundle is counted.")
    ranker: RankerConfig = Field(
        default=RankerConfig(n_leaves=7, min_rows_in_leaf=100, learning_rate=0.05, n_trees=160),
        description="Settings of the learned order.",
    )
    evidence: EvidenceConfig = Field(default=EvidenceConfig(), description="What other events count, in purchases.")


@dataclass(frozen=True, eq=False)
class BundleAffinity:
    """Which bundle for which customer.

    Attributes
    ----------
    signals : BundleSignals
    forests : Forests
        The learned order; empty where there was too little to learn from: a rule orders then.
    rebuys : float
        Share of the purchases of bundles that repeat one of the same customer.
    """

    config: AffinityConfig = field(default_factory=AffinityConfig)
    signals: BundleSignals = field(default_factory=BundleSignals.empty)
    forests: Forests = field(default_factory=lambda: Forests((), ()))
    rebuys: float = 0.0

    @classmethod
    def empty(cls) -> Self:
        """Know of no bundle."""
        return cls()

    def score(self, query: Query, table: BundleTable, items: ItemTable) -> Float32s:
        """Score every bundle for a customer, as `judge` does: float32 [n_bundles]."""
        return self.judge(query, table, items).score

    def judge(self, query: Query, table: BundleTable, items: ItemTable) -> "Judged":
        """Look at every bundle once for a customer.

        To a stranger the decayed purchases of each are said. For a customer a bundle that comes into question has a
        score within (0, 1); the others stand behind, in the order of their sales; and what he has bought already
        stands last, below 0, unless this shop's customers buy bundles again.
        """
        shopper, n = self._shopper(query), len(table)
        weight = grown_to(n, np.array(self.signals.weight), 0.0)
        matrix = signal_matrix(shopper, self.signals, self._later(table, items), self.config.signals.product_share)
        if shopper.is_stranger:
            return Judged(weight, matrix)
        bought = query.bundles.purchases.item_idx
        again = np.isin(np.arange(n), bought[bought >= 0])
        free = np.ones(n, np.bool_) if self.rebuys >= self.config.least_rebuys else ~again
        found = propose(matrix, free, self.config.candidates)
        score = BEHIND * weight / (1.0 + weight)
        score[found] = BEHIND + (1.0 - BEHIND) * self._ordered(matrix[found])
        score[~free] = -1.0 / (1.0 + weight[~free])
        return Judged(score.astype(np.float32), matrix)

    def because(self, query: Query, bundle_idx: int) -> int:
        """Return the customer's bundle from which most lead to another, -1 when none does."""
        shopper = self._shopper(query)
        if bundle_idx >= self.signals.n_bundles or not len(shopper.bundles):
            return -1
        votes = self.signals.walk_bundles[shopper.bundles][:, [bundle_idx]].toarray().ravel()
        best = int(np.argmax(votes))
        return int(shopper.bundles[best]) if votes[best] > 0 else -1

    def _shopper(self, query: Query) -> Shopper:
        c = self.config
        bundles, weight = sum_by_item(query.bundles, c.evidence, query.moment, c.half_life_days)
        keep = np.flatnonzero((weight > 0) & (bundles < self.signals.n_bundles))
        keep = np.sort(keep[np.argsort(-weight[keep], kind="stable")[: c.profile_items]])
        # What he has in the basket replaces no history here: a bundle is for the customer, not for the basket.
        plain = Query(query.at, query.moment, query.customer_idx, query.history)
        products, _ = read_profile(plain, c.evidence, c.half_life_days, self.signals.n_products, c.profile_items)
        return Shopper(bundles[keep], products)

    def _later(self, table: BundleTable, items: ItemTable) -> sp.csr_array:
        """Parts of the bundles that came after training."""
        came = range(self.signals.n_bundles, len(table))
        return self.signals.parts.weighed([table.parts(idx, items) for idx in came])

    def _ordered(self, matrix: Float32s) -> Float64s:
        if not len(matrix):
            return np.zeros(0)
        raw = self.forests.ordered(matrix)[0] if self.forests.boosters else _standardized(rule(matrix))
        squashed: Float64s = 1.0 / (1.0 + np.exp(-raw))
        return squashed


@dataclass(frozen=True, eq=False, slots=True)
class Judged:
    """Every bundle as one customer was found to like it.

    Attributes
    ----------
    score : float32 [n_bundles]
        Higher is better, comparable within one answer only.
    matrix : float32 [n_bundles, n_signals]
        Columns `signals.SIGNALS`.
    """

    score: Float32s
    matrix: Float32s

    def evidence(self, bundle_idx: int) -> dict[str, float]:
        """Return what speaks for one bundle, in numbers that can be told, by name; only what is so.

        `sold`: decayed purchases; `parts_bought`: how many of its parts the customer has bought; `nearest`: how like
        the most alike bundle of his it is, by its parts; `leads_here`: the share of the way on which a walk over the
        customers who want what he wants comes to it.
        """
        told = dict(zip(SIGNALS, self.matrix[bundle_idx].tolist(), strict=True))
        return {name: round(told[signal], 4) for name, signal in EVIDENCE.items() if told[signal] > 0}


def fit_affinity(
    dataset: Dataset, sources: Mapping[str, CandidateSource], config: AffinityConfig, rng: np.random.Generator
) -> BundleAffinity:  # fmt: skip
    """Count what leads to bundles, twice: with some hidden to learn an order from, and with everything to serve."""
    del sources
    if not len(dataset.bundles):
        return BundleAffinity(config)
    frame = dataset.bundles.frame
    told = frame["product_ids"].to_list() if "product_ids" in frame.columns else [None] * len(frame)
    held = [dataset.products.ids.idxs(product_ids or []) for product_ids in told]
    wants = weightiest(pair_matrix(dataset, config.evidence, config.half_life_days), config.profile_items)
    wants.data[:] = 1.0
    parts = find_parts(held, wants, config.signals, rng)
    pairs = _pairs(dataset, config)
    signals = fit_signals(parts, pairs.matrix, wants, pairs.sold, config.signals)
    limits = Limits(config.profile_items, config.candidates, config.hidden_share)
    lessons = learn_bundle_lessons(parts, pairs, wants, config.signals, config.ranker, limits, rng)
    seed = int(rng.integers(2**31 - 1))
    if len(lessons.sizes) < config.ranker.least_questions:
        return BundleAffinity(config, signals, rebuys=_rebuys(dataset.bundle_events))
    forests = grow_forests(lessons, SIGNALS, config.ranker, seed, RISING)
    return BundleAffinity(config, signals, forests, _rebuys(dataset.bundle_events))


def _pairs(dataset: Dataset, config: AffinityConfig) -> Pairs:
    """Return who has which bundle, of each customer the weightiest `profile_items`."""
    events, n_bundles = dataset.bundle_events, len(dataset.bundles)
    wanted = pairs_of(events, n_bundles, dataset.as_of, config.evidence, config.half_life_days)
    wanted = weightiest(wanted, config.profile_items)
    customer = np.repeat(np.arange(wanted.shape[0], dtype=np.int32), np.diff(wanted.indptr))
    key = customer.astype(np.int64) * n_bundles + wanted.indices  # ascending, as the matrix is
    event = events.customer_idx.astype(np.int64) * n_bundles + events.item_idx
    rows = np.searchsorted(key, event)
    kept = np.flatnonzero(np.append(key, -1)[rows] == event)
    at, sold = np.full(len(key), dataset.as_of, np.int64), np.zeros(len(key))
    at[rows[kept]] = events.at[kept]  # a customer's events ascend in time: the last one stays
    bought = kept[events.kind[kept] == PURCHASE]
    vote = weigh_events(config.evidence, events.kind[bought], events.at[bought], dataset.as_of, config.half_life_days)
    np.add.at(sold, rows[bought], vote)
    return Pairs(customer, wanted.indices.astype(np.int32), at, sold.astype(np.float32), wanted.shape)


def _rebuys(events: Histories) -> float:
    bought = events.kind == PURCHASE
    pair = np.stack([events.customer_idx[bought], events.item_idx[bought]])
    return 1.0 - np.unique(pair, axis=1).shape[1] / max(int(bought.sum()), 1) if bought.any() else 0.0


def _standardized(score: Float64s) -> Float64s:
    found: Float64s = (score - score.mean()) / max(float(score.std()), 1e-9)
    return found
