"""What the order of bundles for customers is learned from: bundles that customers have, each hidden as it was before.

Of every customer the latest bundles are taken away (without an order in time: some by chance), everything that counts
who has which bundle is counted anew from what remains, and what was taken away is the answer. So a lesson sees what an
answer will see: nothing of a hidden pair is in any signal of it. What customers do with products stays: it is known
when the question is asked.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from features.arrays import Bools, Float32s, Float64s, Int32s, Int64s
from models.bundles.signals import (
    PROPOSERS,
    SIGNALS,
    Parts,
    Shopper,
    SignalConfig,
    fit_signals,
    no_bundles,
    signal_matrix,
)
from models.rank.ranker import RankerConfig, RankingRows


@dataclass(frozen=True, eq=False, slots=True)
class Pairs:
    """Who has which bundle: one entry for each customer and bundle.

    Attributes
    ----------
    customer_idx, bundle_idx : int32 [n]
    at : int64 [n]
        The last time, UTC µs.
    weight : float32 [n]
        Decayed purchases.
    """

    customer_idx: Int32s
    bundle_idx: Int32s
    at: Int64s
    weight: Float32s
    shape: tuple[int, int]

    def of(self, keep: Bools) -> "Pairs":
        """Return some of them."""
        return Pairs(self.customer_idx[keep], self.bundle_idx[keep], self.at[keep], self.weight[keep], self.shape)

    @property
    def matrix(self) -> sp.csr_array:
        """Return them as CSR float32 [n_customers, n_bundles], entries 1."""
        ones = np.ones(len(self.at), np.float32)
        return sp.csr_array(sp.coo_array((ones, (self.customer_idx, self.bundle_idx)), shape=self.shape).tocsr())

    @property
    def sold(self) -> Float32s:
        """Return the decayed purchases of each bundle: float32 [n_bundles]."""
        return np.bincount(self.bundle_idx, self.weight, self.shape[1]).astype(np.float32)


def hidden_pairs(pairs: Pairs, share: float, rng: np.random.Generator) -> Bools:
    """Choose what is taken away: of each customer a `share`, at least one, the latest first; ties by chance.

    Who has one bundle only loses it too: the order must know what to show to customers without bundles.
    """
    order = np.lexsort((rng.random(len(pairs.at)), -pairs.at, pairs.customer_idx))
    first = np.flatnonzero(np.diff(pairs.customer_idx[order], prepend=-1))
    counts = np.diff(np.append(first, len(order)))
    place = np.arange(len(order)) - np.repeat(first, counts)
    hidden = np.zeros(len(order), np.bool_)
    hidden[order] = place < np.repeat(np.maximum(1, np.rint(share * counts)), counts)
    return hidden


def learn_bundle_lessons(
    parts: Parts, pairs: Pairs, wants: sp.csr_array, config: SignalConfig, ranker: RankerConfig, limits: "Limits",
    rng: np.random.Generator,
) -> RankingRows:  # fmt: skip
    """Ask for the hidden bundles of every customer; `wants` are the products of each (CSR, entries 1)."""
    hidden = hidden_pairs(pairs, limits.hidden_share, rng)
    known, answers = pairs.of(~hidden), pairs.of(hidden).matrix
    has = known.matrix
    signals = fit_signals(parts, has, wants, known.sold, config)
    asked = np.flatnonzero(np.diff(answers.indptr))
    if len(asked) > ranker.max_questions:
        asked = np.sort(rng.choice(asked, ranker.max_questions, replace=False))
    none = no_bundles(wants.shape[1])
    rows: list[tuple[Float32s, Bools]] = []
    for customer in asked.tolist():
        shopper = Shopper(_row(has, customer)[-limits.bundles :], _row(wants, customer))
        matrix = signal_matrix(shopper, signals, none, config.product_share)
        free = np.ones(signals.n_bundles, np.bool_)
        free[shopper.bundles] = False
        rows += _sampled(matrix, free, _row(answers, customer), limits.candidates, ranker.negatives, rng)
    return _stacked(rows)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a customer is looked at: bundles of his, candidates of each proposing signal, the share hidden."""

    bundles: int
    candidates: int
    hidden_share: float


def propose(matrix: Float32s, free: Bools, limit: int) -> Int32s:
    """Return the bundles that come into question, ascending: the best of each signal that proposes, of those free."""
    among = np.flatnonzero(free)
    found = [np.empty(0, np.int64)]
    for name in PROPOSERS:
        value = matrix[among, SIGNALS.index(name)]
        best = np.argsort(-value, kind="stable")[:limit]
        found.append(among[best[value[best] > 0]])
    return np.unique(np.concatenate(found)).astype(np.int32)


def _sampled(
    matrix: Float32s, free: Bools, answer: Int32s, limit: int, negatives: int, rng: np.random.Generator
) -> Iterator[tuple[Float32s, Bools]]:  # fmt: skip
    """Yield the candidates of one question that are learned from; none when the answer is not among them."""
    found = propose(matrix, free, limit)
    wanted = np.isin(found, answer)
    if wanted.any() and not wanted.all():
        kept = wanted | (rng.random(len(found)) < negatives / len(found))
        yield matrix[found[kept]], wanted[kept]


def _row(matrix: sp.csr_array, row: int) -> Int32s:
    found: Int32s = matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]]
    return found


def _stacked(rows: list[tuple[Float32s, Bools]]) -> RankingRows:
    return RankingRows(
        np.concatenate([np.empty((0, len(SIGNALS)), np.float32), *(matrix for matrix, _ in rows)]),
        np.concatenate([np.empty(0, np.bool_), *(wanted for _, wanted in rows)]),
        np.array([len(wanted) for _, wanted in rows], np.int64),
    )


def rule(matrix: Float32s) -> Float64s:
    """Order by a rule where there is too little to learn from: reciprocal ranks of a few signals, added up.

    float64 [n], higher is better. Weights as they did on average in shops where much was known.
    """
    total = np.zeros(len(matrix))
    for name, weight in (("linear", 1.0), ("walk", 1.0), ("parts_share", 0.2), ("parts_like", 0.2), ("weight", 0.3)):
        value = matrix[:, SIGNALS.index(name)]
        place = np.empty(len(value))
        place[np.argsort(-value, kind="stable")] = np.arange(len(value))
        total += np.where(value > 0, weight / (20.0 + place), 0.0)
    return total
