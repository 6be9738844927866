"""`itemknn`: products that the same customers want, by a walk product → customer → product.

RP3β (Paudel, Christoffel, Newell & Bernstein, 2016, "Updatable, accurate, diverse, and scalable recommendations for
interactive applications", eq. 3-4) seen as item neighbourhoods: with A the customer × product matrix and d its degrees,
S[i, j] = Σ_u (A[u, i] / d_i)^α (A[u, j] / d_u)^α / d_j^β. β 0.5 with α 0.5 is close to cosine.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import scipy.sparse as sp
from pydantic import BaseModel, ConfigDict, Field

from features.arrays import Bools, Float32s, Int32s
from features.dataset import Dataset
from models.query import NOTHING, Candidates, Query, top_candidates
from models.recommenders.evidence import (
    EvidenceConfig,
    pair_matrix,
    read_profile,
    score_of_listed,
    strongest_origin,
    votes_of_rows,
)

# What the sum of similarities hides: whether one thing of the history leads straight here or many lead near, and
# whether who starts from here comes to the history.
ASPECTS: Final = ("nearest", "reverse")


class ItemKnnConfig(BaseModel):
    """Settings of `itemknn`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    alpha: float = Field(1.0, gt=0, le=3, description="Exponent of the transition probabilities.")
    beta: float = Field(0.0, ge=0, le=2, description="How much popular products are held back.")
    n_neighbours: int = Field(200, ge=1, le=5000, description="Neighbours kept per product.")
    customer_items: int = Field(
        300, ge=1, description="Most products of a customer that say what goes together: his weightiest of late."
    )
    profile_items: int = Field(100, ge=1, description="Most items of a history that vote: the weightiest.")
    half_life_days: float = Field(90.0, gt=0, description="An event of the profile this old votes half.")
    block_pairs: int = Field(8_000_000, ge=1, description="Most entries of a block of the product × product matrix.")
    evidence: EvidenceConfig = Field(default=EvidenceConfig(), description="What other events count, in purchases.")


@dataclass(frozen=True, eq=False)
class ItemKnnModel:
    """Neighbours of each product.

    Attributes
    ----------
    neighbours : CSR float32 [n_items, n_items]
        Similarity of the best `n_neighbours` products to go to from each; no product is its own neighbour.
    """

    config: ItemKnnConfig
    neighbours: sp.csr_array

    def _profile(self, query: Query) -> tuple[Int32s, Float32s]:
        c, n_items = self.config, self.neighbours.shape[0]
        return read_profile(query, c.evidence, c.half_life_days, n_items, c.profile_items)

    def _scored(self, query: Query) -> tuple[Int32s, Float32s]:
        """Score what is near the profile: (item_idx ascending, score)."""
        item_idx, weight = self._profile(query)
        if not len(item_idx):
            return NOTHING.item_idx, NOTHING.score
        return votes_of_rows(self.neighbours, item_idx, weight.astype(np.float64))

    def candidates(self, query: Query, limit: int) -> Candidates:
        """Return the products nearest to the profile (seeds, else the decayed history)."""
        return top_candidates(*self._scored(query), limit)

    def score(self, query: Query, item_idx: Int32s) -> Float32s:
        """Sum of similarities to the profile: float32 [n], NaN for what is no neighbour of it."""
        return score_of_listed(item_idx, *self._scored(query))

    def aspect(self, name: str, query: Query, item_idx: Int32s) -> Float32s:
        """Return one aspect of each item: float32 [n], as transition probabilities.

        `nearest`: similarity from the item of the profile that is nearest to it; `reverse`: sum of the similarities
        from it to the profile's items. The profile's weights play no part.
        """
        profile, n_items = self._profile(query)[0], self.neighbours.shape[0]
        found = np.full(len(item_idx), np.nan, np.float32)
        known = np.flatnonzero((item_idx >= 0) & (item_idx < n_items))
        asked = {"nearest": self._nearest, "reverse": self._reverse}[name]
        if len(profile):
            found[known] = asked(profile, item_idx[known])
        return found

    def _nearest(self, profile: Int32s, item_idx: Int32s) -> Float32s:
        place = np.full(self.neighbours.shape[0], -1, np.int32)
        place[item_idx] = np.arange(len(item_idx), dtype=np.int32)
        near = self.neighbours[profile]
        at = place[near.indices]
        hits = np.flatnonzero(at >= 0)
        best = np.zeros(len(item_idx), np.float32)
        np.maximum.at(best, at[hits], near.data[hits])
        return best

    def _reverse(self, profile: Int32s, item_idx: Int32s) -> Float32s:
        is_own = np.zeros(self.neighbours.shape[0])
        is_own[profile] = 1.0
        reached: Float32s = (self.neighbours[item_idx] @ is_own).astype(np.float32)
        return reached

    def because(self, query: Query, item_idx: int) -> int:
        """Return the profile's item whose vote for `item_idx` is the greatest, -1 when none votes for it."""
        profile, weight = self._profile(query)
        return strongest_origin(self.neighbours, profile, weight.astype(np.float64), item_idx)


def fit_itemknn(dataset: Dataset, config: ItemKnnConfig, rng: np.random.Generator) -> ItemKnnModel:  # noqa: ARG001
    """Walk from every product; cost Σ_u d_u² multiplications, memory one block at a time."""
    wanted = weightiest(pair_matrix(dataset, config.evidence, config.half_life_days), config.customer_items)
    wanted.data[:] = 1.0  # how often says how dear it is to him, not how near the products are to each other
    return ItemKnnModel(config, find_neighbours(wanted, config))


def weightiest(wanted: sp.csr_array, limit: int) -> sp.csr_array:
    """Cut every customer's row to its `limit` greatest entries (ties: the lower column): few buy a whole shop.

    The cost grows with the square of a row, what it says does not.
    """
    rows = np.repeat(np.arange(wanted.shape[0]), np.diff(wanted.indptr))
    order = np.lexsort((wanted.indices, -wanted.data, rows))
    place = np.arange(len(order)) - wanted.indptr[rows[order]]
    keep = np.sort(order[place < limit])
    counts = np.bincount(rows[keep], minlength=wanted.shape[0])
    indptr = np.append(0, np.cumsum(counts)).astype(wanted.indptr.dtype)
    return sp.csr_array((wanted.data[keep], wanted.indices[keep], indptr), shape=wanted.shape)


def find_neighbours(wanted: sp.csr_array, config: ItemKnnConfig) -> sp.csr_array:
    """Return the best neighbours of each column of a customer × product matrix: CSR float32 [n_items, n_items]."""
    by_customer = np.asarray(wanted.sum(axis=1)).ravel()
    by_item = np.asarray(wanted.sum(axis=0)).ravel()
    leave = sp.csr_array(wanted.T.tocsr())
    leave.data = (leave.data / np.repeat(by_item, np.diff(leave.indptr))) ** config.alpha
    arrive = wanted.copy()
    arrive.data = (arrive.data / np.repeat(by_customer, np.diff(arrive.indptr))) ** config.alpha
    arrive.data = (arrive.data * np.maximum(by_item, 1.0)[arrive.indices] ** -config.beta).astype(np.float32)
    leave.data = leave.data.astype(np.float32)
    return strongest_of_product(leave, arrive, config.n_neighbours, config.block_pairs)


def strongest_of_product(
    leave: sp.csr_array, arrive: sp.csr_array, limit: int, block_pairs: int, *, own: bool = False
) -> sp.csr_array:
    """Return the `limit` greatest positive entries of each row of leave @ arrive, block by block: CSR float32.

    Parameters
    ----------
    leave, arrive : CSR float32 [n, m] and [m, n]
        m: whatever leads from a row to a column (customers, baskets).
    limit : int
        Entries kept per row; ties: the lower column.
    block_pairs : int
        Most entries of the product that are in memory at a time.
    own : bool
        Whether the diagonal counts.
    """
    n_rows, n_columns = leave.shape[0], arrive.shape[1]
    # An upper bound of each row's entries: all that it leads to in all.
    reach = np.minimum((leave.astype(bool).astype(np.int64) @ np.diff(arrive.indptr)), n_columns)
    block_of = np.cumsum(reach) // block_pairs
    edges = np.flatnonzero(np.diff(block_of, prepend=-1, append=-2)) if n_rows else np.zeros(1, np.int64)
    nobody = n_columns  # an offset behind the last column: no row is its own
    parts = [
        _strongest(sp.csr_array(leave[a:b] @ arrive), nobody if own else a, limit) for a, b in pairwise(edges.tolist())
    ]
    kept = np.concatenate([counts for counts, _, _ in parts]) if parts else np.empty(0, np.int64)
    indptr = np.append(0, np.cumsum(kept)).astype(np.int64)
    indices = np.concatenate([columns for _, columns, _ in parts]) if parts else np.empty(0, np.int32)
    data = np.concatenate([values for _, _, values in parts]) if parts else np.empty(0, np.float32)
    return sp.csr_array((data, indices, indptr), shape=(n_rows, n_columns))


def _strongest(block: sp.csr_array, offset: int, limit: int) -> tuple[Int32s, Int32s, Float32s]:
    """Cut every row of a block to its `limit` greatest entries, its own item apart: (counts, columns, values)."""
    # Every product is the nearest to itself and no neighbour: a 0 that the cut leaves out.
    row = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))
    block.data[block.indices == row + offset] = 0.0
    keep = block.data > 0
    for n in np.flatnonzero(np.diff(block.indptr) > limit).tolist():
        entries = slice(int(block.indptr[n]), int(block.indptr[n + 1]))
        keep[entries] &= _among_greatest(block.indices[entries], block.data[entries], limit)
    counts = np.bincount(row[keep], minlength=block.shape[0])
    kept = sp.csr_array((block.data[keep], block.indices[keep], np.append(0, np.cumsum(counts))), shape=block.shape)
    kept.sort_indices()
    return counts.astype(np.int32), kept.indices.astype(np.int32), kept.data


def _among_greatest(column: Int32s, value: Float32s, limit: int) -> Bools:
    """Which of some entries are the `limit` greatest; of a tie at the cut the lower columns are."""
    least = np.partition(value, len(value) - limit)[len(value) - limit]
    found: Bools = value >= least
    at_cut = np.flatnonzero(value == least)
    too_many = int(found.sum()) - limit
    found[at_cut[np.argsort(column[at_cut])[len(at_cut) - too_many :]]] = False
    return found
