"""What speaks for a product beside those of a basket: words, what was bought together, bundles, kinds, own habits.

All of it is asked for the whole catalogue where it proposes candidates, and for the candidates alone where it only
judges them. `left_out` takes bundles out of every count, so that a lesson made of one sees nothing of itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np
import scipy.sparse as sp

from features.arrays import Bools, Float32s, Float64s, Int32s, Int64s
from models.completion.wording import Wording
from models.query import NO_ITEMS

SIGNALS: Final = (
    "title", "title_best", "text", "text_best", "meaning", "meaning_best", "rarest_word", "same_brand", "same_kind",
    "walk", "walk_best", "bundled", "kind_lift", "sold", "in_bundles", "kind_in_bundles", "own", "n_seeds", "n_words",
    "rank_title", "rank_text", "rank_meaning", "rank_walk", "rank_kind_lift",
)  # fmt: skip
PROPOSERS: Final = ("title", "text", "meaning", "walk", "bundled", "own")
KIND_PRIOR: Final = 5.0  # parts of bundles that no connection of two kinds is worth


@dataclass(frozen=True, eq=False)
class Companions:
    """What was together: in baskets and in bundles.

    Attributes
    ----------
    walk : CSR float32 [n_items, n_items]
        Product → baskets that hold it → what else they hold (`itemknn`'s neighbours, over baskets).
    sold : float32 [n_items]
        Share of the baskets that hold a product.
    bundles : CSR float32 [n_bundles, n_items]
        Entries 1.
    kind : int32 [n_items]
        Number of the category, -1 where unknown.
    n_kinds : int
    """

    walk: sp.csr_array
    sold: Float32s
    bundles: sp.csr_array
    kind: Int32s
    n_kinds: int

    @cached_property
    def holders(self) -> sp.csr_array:
        """Bundles of each product: CSR [n_items, n_bundles]."""
        return sp.csr_array(self.bundles.T.tocsr())

    @cached_property
    def in_bundles(self) -> Float32s:
        """Number of bundles that hold each product: float32 [n_items]."""
        return np.diff(self.holders.indptr).astype(np.float32)

    @cached_property
    def kind_in_bundles(self) -> Float32s:
        """The same of each kind, part by part: float32 [n_kinds]."""
        parts = self.kind[self.bundles.indices]
        return np.bincount(parts[parts >= 0], minlength=self.n_kinds).astype(np.float32)

    @cached_property
    def kind_share(self) -> Float64s:
        """Share of the products that are of each kind: float64 [n_kinds], above 0."""
        counts = np.bincount(self.kind[self.kind >= 0], minlength=self.n_kinds) + 0.5
        share: Float64s = counts / counts.sum()
        return share

    @cached_property
    def of_kinds(self) -> sp.csr_array:
        """Parts of each kind in each bundle: CSR float32 [n_bundles, n_kinds]."""
        known = self.kind[self.bundles.indices] >= 0
        row = np.repeat(np.arange(self.bundles.shape[0]), np.diff(self.bundles.indptr))[known]
        column = self.kind[self.bundles.indices[known]]
        shape = (self.bundles.shape[0], max(self.n_kinds, 1))
        return sp.csr_array(sp.coo_array((np.ones(len(row), np.float32), (row, column)), shape=shape).tocsr())

    @cached_property
    def meetings(self) -> sp.csr_array:
        """How often two kinds met as parts of one bundle: CSR float32 [n_kinds, n_kinds]."""
        met = sp.csr_array((self.of_kinds.T @ self.of_kinds).tocsr())
        met.setdiag(met.diagonal() - np.asarray(self.of_kinds.sum(axis=0)).ravel())  # no part meets itself
        return met


@dataclass(frozen=True, eq=False)
class Question:
    """A basket to complete.

    Attributes
    ----------
    seeds : int32 [n]
        What is in it.
    own : (int32 [m] ascending, float32 [m])
        Products that the customer has bought before, and how much of a habit each is.
    left_out : int32 [m]
        Bundles that are not looked at: the one that the question is made of, and its variants.
    """

    seeds: Int32s
    own: tuple[Int32s, Float32s] = field(default_factory=lambda: (NO_ITEMS, np.empty(0, np.float32)))
    left_out: Int32s = field(default_factory=lambda: NO_ITEMS)


@dataclass(frozen=True, eq=False)
class Signals:
    """What speaks for each product of the catalogue in one question; arrays float32 [n_items].

    Attributes
    ----------
    worded : (float32 [n_items], ...)
        What the seeds' titles, texts and meanings say: mean cosines.
    """

    question: Question
    wording: Wording
    companions: Companions
    worded: tuple[Float32s, Float32s, Float32s]

    @classmethod
    def of_all(cls, questions: Sequence[Question], wording: Wording, companions: Companions) -> "list[Signals]":
        """Look at several questions: the catalogue's words are read once for all of them."""
        n_items = len(companions.sold)
        seeds = [question.seeds for question in questions]
        size = np.array([len(each) for each in seeds])
        shares = np.repeat(1.0 / np.maximum(size, 1), size).astype(np.float32)
        entries = (shares, np.concatenate([NO_ITEMS, *seeds]), np.append(0, np.cumsum(size)))
        mean = sp.csr_array(entries, shape=(len(questions), n_items))
        titles, texts = (matrix @ (mean @ matrix).T.toarray() for matrix in (wording.titles, wording.texts))
        # Row by row in one order of summation: products described alike tie, whatever they are asked with.
        meanings = [np.einsum("ij,j->i", wording.meaning, direction) for direction in mean @ wording.meaning]
        told = zip(questions, *(np.ascontiguousarray(said.T) for said in (titles, texts)), meanings, strict=True)
        return [cls(one, wording, companions, (title, text, meaning)) for one, title, text, meaning in told]

    @classmethod
    def of(cls, question: Question, wording: Wording, companions: Companions) -> "Signals":
        """Look at one question."""
        return cls.of_all([question], wording, companions)[0]

    @cached_property
    def proposed(self) -> dict[str, Float32s]:
        """The signals that propose candidates, and what kinds say."""
        own = np.zeros(len(self.companions.sold), np.float32)
        own[self.question.own[0]] = self.question.own[1]
        title, text, meaning = self.worded
        return {
            "title": title, "text": text, "meaning": meaning,
            "walk": _sum_of_rows(self.companions.walk, self.question.seeds), "bundled": self._bundled(), "own": own,
            "kind_lift": self._kind_lift(),
        }  # fmt: skip

    def _bundled(self) -> Float32s:
        """In how many bundles a product stands beside seeds, a small bundle saying more."""
        holders, bundles = self.companions.holders, self.companions.bundles
        rows = np.concatenate([NO_ITEMS, *(_row(holders, seed) for seed in self.question.seeds.tolist())])
        rows = rows[~np.isin(rows, self.question.left_out)]
        size = np.maximum(np.diff(bundles.indptr)[rows] - 1, 1)
        found: Float32s = (bundles[rows].T @ (1.0 / size)).astype(np.float32)
        return found

    def _kind_lift(self) -> Float32s:
        """How much oftener than by chance the kinds of the seeds meet a product's: mean log lift, shrunk to 0."""
        companions, kind = self.companions, self.companions.kind
        starts = kind[self.question.seeds]
        starts = starts[starts >= 0]
        found = np.zeros(len(kind), np.float32)
        if not len(starts):
            return found
        met = companions.meetings[starts].toarray().astype(np.float64)
        if len(self.question.left_out):
            apart = companions.of_kinds[self.question.left_out]
            met -= (apart.T[starts] @ apart).toarray()
            met[np.arange(len(starts)), starts] += apart[:, starts].sum(axis=0)  # no part meets itself
        met = np.maximum(met, 0.0)
        share = companions.kind_share
        lift = np.log((met + KIND_PRIOR * share) / (met.sum(axis=1, keepdims=True) + KIND_PRIOR) / share).mean(axis=0)
        found[kind >= 0] = lift[kind[kind >= 0]]
        return found

    def candidates(self, limit: int) -> Int32s:
        """Return the products that come into question, ascending: the best of each signal that proposes.

        Of what kinds say, the products nearest in words stand for a kind.
        """
        beside = self.proposed["kind_lift"] + 0.01 * self.proposed["title"]
        named = [self.proposed[name] for name in PROPOSERS]
        found = [np.empty(0, np.int64)]
        for value in (*named, np.where(self.proposed["kind_lift"] > 0, beside, 0.0)):
            speaks = np.flatnonzero((value > 0) & self._free)
            found.append(speaks[_best(value[speaks], limit)])
        return np.unique(np.concatenate(found)).astype(np.int32)

    def matrix(self, item_idx: Int32s) -> Float32s:
        """Describe some products: float32 [n, n_signals], columns `SIGNALS`."""
        seeds, wording, companions = self.question.seeds, self.wording, self.companions
        told = {name: value[item_idx] for name, value in self.proposed.items()}
        for name, matrix in (("title", wording.titles), ("text", wording.texts)):
            told[f"{name}_best"] = _greatest((matrix[item_idx] @ matrix[seeds].T).toarray())
        told["meaning_best"] = _greatest(wording.meaning[item_idx] @ wording.meaning[seeds].T)
        told["rarest_word"] = self._rarest_word(item_idx)
        for name, code in (("same_brand", wording.brand), ("same_kind", companions.kind)):
            same = (code[item_idx][:, None] == code[seeds][None, :]) & (code[item_idx][:, None] >= 0)
            told[name] = same.mean(axis=1)
        told["walk_best"] = _greatest(companions.walk[seeds][:, item_idx].toarray().T)
        gone = np.asarray(companions.bundles[self.question.left_out].sum(axis=0)).ravel()
        told["sold"] = companions.sold[item_idx]
        told["in_bundles"] = (companions.in_bundles - gone)[item_idx]
        told["kind_in_bundles"] = self._kind_in_bundles(item_idx)
        told["n_seeds"] = np.full(len(item_idx), len(seeds))
        told["n_words"] = np.diff(wording.titles.indptr)[item_idx]
        for name in ("title", "text", "meaning", "walk", "kind_lift"):
            told[f"rank_{name}"] = self._places(name, item_idx)
        return np.stack([told[name].astype(np.float32) for name in SIGNALS], axis=1)

    def _kind_in_bundles(self, item_idx: Int32s) -> Float32s:
        kind, companions = self.companions.kind[item_idx], self.companions
        if not companions.n_kinds:
            return np.zeros(len(item_idx), np.float32)
        counts = (
            companions.kind_in_bundles - np.asarray(companions.of_kinds[self.question.left_out].sum(axis=0)).ravel()
        )
        found: Float32s = np.where(kind >= 0, counts[kind], 0.0).astype(np.float32)
        return found

    def _rarest_word(self, item_idx: Int32s) -> Float32s:
        """Weight of the rarest word that a title shares with a seed's, 0 for none."""
        titles, idf = self.wording.titles, self.wording.title_idf
        named = np.zeros(titles.shape[1], np.float32)
        terms = np.unique(titles[self.question.seeds].indices)
        named[terms] = idf[terms]
        rows = titles[item_idx]
        found = np.zeros(len(item_idx), np.float32)
        row = np.repeat(np.arange(len(item_idx)), np.diff(rows.indptr))
        np.maximum.at(found, row, named[rows.indices])
        return found

    def _places(self, name: str, item_idx: Int32s) -> Float32s:
        """Logarithm of how many products a signal puts before each of some."""
        value = self.proposed[name]
        others = np.sort(value[self._free])
        found: Float32s = np.log1p(len(others) - np.searchsorted(others, value[item_idx], side="right"))
        return found

    @cached_property
    def _free(self) -> Bools:
        """Which products are not in the basket."""
        free = np.ones(len(self.companions.sold), np.bool_)
        free[self.question.seeds] = False
        return free


def pulls(question: Question, wording: Wording, companions: Companions, item_idx: int) -> Float64s:
    """How much each seed speaks for a product, by words, baskets and bundles: float64 [n_seeds], 0 for nothing."""
    seeds = question.seeds
    likeness = (wording.texts[seeds] @ wording.texts[[item_idx]].T).toarray().ravel()
    walk = companions.walk[seeds]
    most = np.maximum(walk.max(axis=1).toarray().ravel(), 1e-12) if walk.nnz else np.ones(len(seeds))
    shared = companions.bundles[_row(companions.holders, item_idx)][:, seeds].sum(axis=0)
    total: Float64s = likeness + walk[:, [item_idx]].toarray().ravel() / most + (np.asarray(shared).ravel() > 0)
    return total


def bundle_matrix(parts: Sequence[Int32s], n_items: int) -> sp.csr_array:
    """Return which products each bundle holds: CSR float32 [n_bundles, n_items], entries 1."""
    held = [np.unique(each) for each in parts]
    indptr = np.append(0, np.cumsum([len(each) for each in held])).astype(np.int64)
    indices = np.concatenate([NO_ITEMS, *held]).astype(np.int32)
    return sp.csr_array((np.ones(len(indices), np.float32), indices, indptr), shape=(len(held), n_items))


def _row(matrix: sp.csr_array, row: int) -> Int32s:
    found: Int32s = matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]]
    return found


def _sum_of_rows(matrix: sp.csr_array, rows: Int32s) -> Float32s:
    total: Float32s = (matrix[rows].T @ np.ones(len(rows), np.float32)).astype(np.float32)
    return total


def _greatest(rows: Float32s) -> Float32s:
    found: Float32s = np.asarray(rows).max(axis=1, initial=0.0)
    return found


def _best(value: Float32s, limit: int) -> Int64s:
    """Rows of the `limit` greatest values, ties by the lower row."""
    if len(value) > limit:
        least = np.partition(value, len(value) - limit)[len(value) - limit]
        rows = np.flatnonzero(value >= least)
        return rows[np.argsort(-value[rows], kind="stable")[:limit]]
    return np.arange(len(value))
