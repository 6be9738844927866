"""What some products say of each other at this moment: pairs that were counted, kinds and closeness where none were."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from features.arrays import Float64s, Int32s, Int64s
from models.bundles.pairs import PairEvidence, base_share, pull_of
from models.bundles.space import ProductSpace
from models.items import ItemTable


@dataclass(frozen=True, eq=False, slots=True)
class Links:
    """Directed links from n products to m; nothing from a product to itself.

    Attributes
    ----------
    pull : float64 [n, m]
        In nats ≥ 0 (`models.bundles.pairs`).
    lift : float64 [n, m]
        How much oftener than by chance, 0 where nothing is known.
    count : int64 [n, m]
        Baskets that hold both; 0: only their kinds speak.
    """

    pull: Float64s
    lift: Float64s
    count: Int64s


@dataclass(frozen=True, eq=False)
class LinkFinder:
    """Looks links up; `prior` is that of the pairs' fit, `closeness` what words in common add to a word of kinds."""

    evidence: PairEvidence
    space: ProductSpace
    items: ItemTable
    prior: float
    closeness: float

    def links(self, starts: Int32s, others: Int32s) -> Links:
        """Return what each of some products says of each of others; the latter are distinct."""
        shape = (len(starts), len(others))
        found = Links(np.zeros(shape), np.zeros(shape), np.zeros(shape, np.int64))
        self._by_kind(starts, others, found)
        self._counted(starts, others, found)
        found.pull[starts[:, None] == others[None]] = 0.0
        return found

    def reached(self, starts: Int32s) -> Int32s:
        """Return products that may go with any of some products: int32, ascending."""
        known, partners = self.evidence, self.evidence.partners
        found = [_row(partners, i) for i in starts.tolist() if i < partners.shape[0]]
        for kind in {code for code in self._kinds(starts).tolist() if code >= 0}:
            found += [_row(known.typical, other) for other in _row(known.complements, kind).tolist()]
        return np.unique(np.concatenate(found)).astype(np.int32) if found else np.empty(0, np.int32)

    @cached_property
    def _kind_of_category(self) -> Int32s:
        codes = self.evidence.kind_codes
        return np.array([*(codes.get(path, -1) for path in self.items.paths), -1], np.int32)

    def _kinds(self, item_idx: Int32s) -> Int32s:
        kinds: Int32s = self._kind_of_category[self.items.category[item_idx]]
        return kinds

    def _by_kind(self, starts: Int32s, others: Int32s, found: Links) -> None:
        of_start, of_other, known = self._kinds(starts), self._kinds(others), self.evidence
        rows, columns = np.flatnonzero(of_start >= 0), np.flatnonzero(of_other >= 0)
        if not len(rows) or not len(columns):
            return
        word = known.complements[of_start[rows]][:, of_other[columns]].toarray().astype(np.float64)
        a, b = (self.space.of_items(x).astype(np.float64) for x in (starts[rows], others[columns]))
        word *= 1.0 + self.closeness * np.maximum(np.einsum("id,jd->ij", a, b), 0.0)
        # No basket, or too few, hold both: the more were expected, the less the kinds' word counts.
        base = base_share(self.shares(others[columns]), known.chance)[None]
        expected = known.total * self.shares(starts[rows])[:, None] * base
        lift = self.prior * word / (expected + self.prior)
        certain = np.where(lift > 1.0, lift, 1.0)
        at = np.ix_(rows, columns)
        found.lift[at] = np.where(lift > 1.0, lift, 0.0)
        found.pull[at] = pull_of(certain, base)

    def _counted(self, starts: Int32s, others: Int32s, found: Links) -> None:
        known, order = self.evidence, np.argsort(others)
        ascending = others[order]
        for row, item in enumerate(starts.tolist() if len(others) else ()):
            if item >= known.partners.shape[0]:
                continue
            start, stop = known.partners.indptr[item], known.partners.indptr[item + 1]
            listed = known.partners.indices[start:stop]
            at = np.minimum(np.searchsorted(ascending, listed), len(ascending) - 1)
            hit = np.flatnonzero(ascending[at] == listed)
            column = order[at[hit]]
            found.pull[row, column] = known.partners.data[start:stop][hit]
            found.lift[row, column] = known.lift[start:stop][hit]
            found.count[row, column] = known.count[start:stop][hit]

    def shares(self, item_idx: Int32s) -> Float64s:
        """Return the share of baskets that hold each product: float64 [n], 0 for what came after training."""
        known = item_idx < len(self.evidence.share)
        share = np.zeros(len(item_idx))
        share[known] = self.evidence.share[item_idx[known]]
        return share


def _row(matrix: sp.csr_array, row: int) -> Int32s:
    columns: Int32s = matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]]
    return columns
