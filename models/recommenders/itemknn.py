"""`itemknn`: products that the same customers want, by a walk product → customer → product.

RP3β (Paudel, Christoffel, Newell & Bernstein, 2016, "Updatable, accurate, diverse, and scalable recommendations for
interactive applications", eq. 3-4) seen as item neighbourhoods: with A the customer × product matrix and d its degrees,
S[i, j] = Σ_u (A[u, i] / d_i)^α (A[u, j] / d_u)^α / d_j^β. β 0.5 with α 0.5 is close to cosine.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy.sparse as sp
from pydantic import BaseModel, ConfigDict, Field

from features.arrays import Float32s, Int32s
from features.dataset import Dataset
from models.query import NOTHING, Candidates, Query, top_candidates
from models.recommenders.evidence import EvidenceConfig, pair_matrix, read_profile, score_of_listed


class ItemKnnConfig(BaseModel):
    """Settings of `itemknn`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    alpha: float = Field(1.0, gt=0, le=3, description="Exponent of the transition probabilities.")
    beta: float = Field(0.0, ge=0, le=2, description="How much popular products are held back.")
    n_neighbours: int = Field(200, ge=1, le=5000, description="Neighbours kept per product.")
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
        start, stop = self.neighbours.indptr[item_idx], self.neighbours.indptr[item_idx + 1]
        rows = [slice(a, b) for a, b in zip(start.tolist(), stop.tolist(), strict=True)]
        near = np.concatenate([self.neighbours.indices[row] for row in rows])
        vote = np.concatenate([self.neighbours.data[row] for row in rows]) * np.repeat(weight, stop - start)
        dense = np.bincount(near, weights=vote, minlength=self.neighbours.shape[1])
        found = np.flatnonzero(dense).astype(np.int32)
        return found, dense[found].astype(np.float32)

    def candidates(self, query: Query, limit: int) -> Candidates:
        """Return the products nearest to the profile (seeds, else the decayed history)."""
        return top_candidates(*self._scored(query), limit)

    def score(self, query: Query, item_idx: Int32s) -> Float32s:
        """Sum of similarities to the profile: float32 [n], NaN for what is no neighbour of it."""
        return score_of_listed(item_idx, *self._scored(query))

    def because(self, query: Query, item_idx: int) -> int:
        """Return the profile's item whose vote for `item_idx` is the greatest, -1 when none votes for it."""
        profile, weight = self._profile(query)
        if not len(profile):
            return -1
        start, stop = self.neighbours.indptr[profile], self.neighbours.indptr[profile + 1]
        rows = [slice(a, b) for a, b in zip(start.tolist(), stop.tolist(), strict=True)]
        hits = np.flatnonzero(np.concatenate([self.neighbours.indices[row] for row in rows]) == item_idx)
        if not len(hits):
            return -1
        origin = np.repeat(np.arange(len(profile)), stop - start)[hits]
        vote = np.concatenate([self.neighbours.data[row] for row in rows])[hits] * weight[origin]
        return int(profile[origin[int(np.argmax(vote))]])


def fit_itemknn(dataset: Dataset, config: ItemKnnConfig, rng: np.random.Generator) -> ItemKnnModel:  # noqa: ARG001
    """Walk from every product; cost Σ_u d_u² multiplications, memory one block at a time."""
    wanted = pair_matrix(dataset, config.evidence)
    wanted.data[:] = 1.0  # how often says how dear it is to him, not how near the products are to each other
    return ItemKnnModel(config, find_neighbours(wanted, config))


def find_neighbours(wanted: sp.csr_array, config: ItemKnnConfig) -> sp.csr_array:
    """Return the best neighbours of each column of a customer × product matrix: CSR float32 [n_items, n_items]."""
    n_items = wanted.shape[1]
    by_customer = np.asarray(wanted.sum(axis=1)).ravel()
    by_item = np.asarray(wanted.sum(axis=0)).ravel()
    leave = sp.csr_array(wanted.T.tocsr())
    leave.data = (leave.data / np.repeat(by_item, np.diff(leave.indptr))) ** config.alpha
    arrive = wanted.copy()
    arrive.data = (arrive.data / np.repeat(by_customer, np.diff(arrive.indptr))) ** config.alpha
    arrive.data = (arrive.data * np.maximum(by_item, 1.0)[arrive.indices] ** -config.beta).astype(np.float32)
    leave.data = leave.data.astype(np.float32)
    # An upper bound of each row's entries: what its customers bought in all.
    reach = np.minimum((leave.astype(bool).astype(np.int64) @ np.diff(wanted.indptr)), n_items)
    block_of = np.cumsum(reach) // config.block_pairs
    edges = np.flatnonzero(np.diff(block_of, prepend=-1, append=-2)) if n_items else np.zeros(1, np.int64)
    parts = [_strongest(sp.csr_array(leave[a:b] @ arrive), a, config.n_neighbours) for a, b in pairwise(edges.tolist())]
    kept = np.concatenate([counts for counts, _, _ in parts]) if parts else np.empty(0, np.int64)
    indptr = np.append(0, np.cumsum(kept)).astype(np.int64)
    indices = np.concatenate([columns for _, columns, _ in parts]) if parts else np.empty(0, np.int32)
    data = np.concatenate([values for _, _, values in parts]) if parts else np.empty(0, np.float32)
    return sp.csr_array((data, indices, indptr), shape=(n_items, n_items))


def _strongest(block: sp.csr_array, offset: int, limit: int) -> tuple[Int32s, Int32s, Float32s]:
    """Cut every row of a block to its `limit` greatest entries, its own item apart: (counts, columns, values)."""
    counts, columns, values = [], [], []
    for row in range(block.shape[0]):
        part = slice(block.indptr[row], block.indptr[row + 1])
        column, value = block.indices[part], block.data[part]
        others = column != row + offset
        best = top_candidates(column[others], value[others], limit)
        order = np.argsort(best.item_idx)
        columns.append(best.item_idx[order])
        values.append(best.score[order])
        counts.append(len(best))
    return (
        np.array(counts, np.int32),
        np.concatenate(columns) if columns else np.empty(0, np.int32),
        np.concatenate(values) if values else np.empty(0, np.float32),
    )
