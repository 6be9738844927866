"""What completing is learned from: baskets of the past, or the shop's bundles, each with one product hidden.

Baskets come first: they are what is completed. Of the latest ones one product is hidden, and all that counts what was
bought together is counted from the baskets before. A shop with too few of them learns from its bundles: each is taken
out of every count while its parts are asked for, and so are its variants, the bundles that share two products or more
with it: they would tell what is hidden. Baskets are not looked at then: a bundle that was bought is in them whole.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np
import scipy.sparse as sp

from features.arrays import Float32s, Int32s, Int64s
from features.dataset import Dataset
from features.history import History
from models.completion.signals import SIGNALS, Companions, Question, Signals
from models.completion.wording import Wording
from models.rank.ranker import RankerConfig, RankingRows
from models.recommenders.evidence import EvidenceConfig, sum_by_item

VARIANT: Final = 2  # products that two bundles share and are one bundle to learn from
AT_A_TIME: Final = 32  # questions that the catalogue's words are read for at once
LATEST: Final = 0.2  # of the baskets are asked about, the rest is counted


@dataclass(frozen=True, eq=False, slots=True)
class Baskets:
    """What was bought together, ascending in time.

    Attributes
    ----------
    items : CSR float32 [n, n_items]
        Entries 1.
    at : int64 [n]
        UTC µs of the first line.
    customer_idx : int32 [n]
    """

    items: sp.csr_array
    at: Int64s
    customer_idx: Int32s

    def of(self, rows: Int64s) -> "Baskets":
        """Return some of them, ascending."""
        return Baskets(self.items[rows], self.at[rows], self.customer_idx[rows])


def read_baskets(dataset: Dataset) -> Baskets:
    """Read the baskets of a dataset."""
    events = dataset.product_events
    lines = np.flatnonzero(events.order_idx >= 0)
    customer, at = events.customer_idx[lines], events.at[lines]
    key = customer.astype(np.int64) << 32 | events.order_idx[lines]
    _, first, row = np.unique(key, return_index=True, return_inverse=True)
    start = np.full(len(first), np.iinfo(np.int64).max)
    np.minimum.at(start, row, at)
    order = np.argsort(start, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    shape = (len(first), len(dataset.products))
    entries = sp.coo_array((np.ones(len(lines), np.float32), (place[row], events.item_idx[lines])), shape=shape)
    items = sp.csr_array(entries.tocsr())
    items.data[:] = 1.0
    return Baskets(items, start[order], customer[first[order]].astype(np.int32))


def latest_baskets(baskets: Baskets) -> Int64s:
    """Rows of the baskets that are asked about: of two products at least, none when they have no order in time."""
    if not len(baskets.at):
        return np.empty(0, np.int64)
    cut = int(np.quantile(baskets.at, 1 - LATEST, method="higher"))
    late = (baskets.at >= cut) & (cut > baskets.at[0])
    return np.flatnonzero(late & (np.diff(baskets.items.indptr) >= 2))


@dataclass(frozen=True, eq=False, slots=True)
class Teacher:
    """Makes rows to learn from out of questions with one product hidden."""

    wording: Wording
    companions: Companions
    candidates: int
    ranker: RankerConfig

    def rows(self, questions: Iterator[tuple[Question, int]], rng: np.random.Generator) -> RankingRows:
        """Describe the candidates of each (question, hidden product); what is hidden and not found teaches nothing."""
        parts: list[tuple[Float32s, np.ndarray]] = []
        for signals, hidden in self._looked_at(questions):
            found = signals.candidates(self.candidates)
            wanted = found == hidden
            if not wanted.any() or wanted.all():
                continue
            kept = wanted | (rng.random(len(found)) < self.ranker.negatives / len(found))
            parts.append((signals.matrix(found[kept]), wanted[kept]))
        return RankingRows(
            np.concatenate([np.empty((0, len(SIGNALS)), np.float32), *(matrix for matrix, _ in parts)]),
            np.concatenate([np.empty(0, np.bool_), *(wanted for _, wanted in parts)]),
            np.array([len(wanted) for _, wanted in parts], np.int64),
        )

    def _looked_at(self, questions: Iterator[tuple[Question, int]]) -> Iterator[tuple[Signals, int]]:
        while some := list(islice(questions, AT_A_TIME)):
            looked = Signals.of_all([question for question, _ in some], self.wording, self.companions)
            yield from zip(looked, [hidden for _, hidden in some], strict=True)


def basket_questions(
    dataset: Dataset, baskets: Baskets, rows: Int64s, profile: "Profile", rng: np.random.Generator
) -> Iterator[tuple[Question, int]]:
    """Ask for one product of each basket, drawn by chance; the customer's history runs to the basket's moment."""
    for row in rows.tolist():
        held = baskets.items.indices[baskets.items.indptr[row] : baskets.items.indptr[row + 1]]
        hidden = int(held[rng.integers(len(held))])
        at = int(baskets.at[row])
        history = dataset.product_events.of(int(baskets.customer_idx[row])).before(at)
        yield Question(_some(held[held != hidden], profile.seeds, rng), profile.own(history, at)), hidden


def bundle_questions(
    bundles: sp.csr_array, limit: int, seeds: int, rng: np.random.Generator
) -> Iterator[tuple[Question, int]]:
    """Ask for every part of every bundle of two products at least; of more than `limit` some, drawn by chance."""
    rows = np.repeat(np.arange(bundles.shape[0]), np.diff(bundles.indptr))
    asked = np.flatnonzero(np.diff(bundles.indptr)[rows] >= 2)
    turned = sp.csr_array(bundles.T.tocsr())
    if len(asked) > limit:
        asked = np.sort(rng.choice(asked, limit, replace=False))
    for place in asked.tolist():
        row, hidden = int(rows[place]), int(bundles.indices[place])
        held = bundles.indices[bundles.indptr[row] : bundles.indptr[row + 1]]
        shared = np.asarray((bundles[[row]] @ turned).toarray()).ravel()
        variants = np.flatnonzero(shared >= VARIANT).astype(np.int32)
        yield Question(_some(held[held != hidden], seeds, rng), left_out=variants), hidden


@dataclass(frozen=True, slots=True)
class Profile:
    """How much of a basket and of a history is looked at."""

    seeds: int
    half_life_days: float
    n_items: int
    evidence: EvidenceConfig

    def own(self, history: History, moment: int) -> tuple[Int32s, Float32s]:
        """Return what a customer buys: (item_idx ascending, decayed baskets, float32 > 0)."""
        item_idx, weight = sum_by_item(history.purchases, self.evidence, moment, self.half_life_days)
        keep = (weight > 0) & (item_idx < self.n_items)
        return item_idx[keep], weight[keep].astype(np.float32)


def _some(item_idx: Int32s, limit: int, rng: np.random.Generator) -> Int32s:
    if len(item_idx) <= limit:
        return item_idx
    return np.sort(rng.choice(item_idx, limit, replace=False))
