"""`ease`: a linear model of each product by all others, in closed form.

Steck, WWW 2019, "Embarrassingly shallow autoencoders for sparse data", eq. 8: with the Gram matrix G of the customer x
product matrix and P = (G + ridge I)^-1, the weights are B = -P / diag(P) by column, 0 on the diagonal.

The inverse needs the square of the number of products, so only the products that most customers want are modelled: as
many as the memory allows. The model says which share of the evidence they hold; the rest is the other sources' part.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from pydantic import BaseModel, ConfigDict, Field

from features.arrays import Float32s, Float64s, Int32s
from features.dataset import Dataset
from models.query import NOTHING, Candidates, Query, top_candidates
from models.recommenders.evidence import (
    EvidenceConfig,
    pair_matrix,
    read_profile,
    score_of_listed,
    strongest_origin,
    weighted_rows,
)
from models.recommenders.itemknn import weightiest

BYTES_PER_PAIR: Final = 8  # of two products: 6 measured at 5,773 (the inverse takes 4, the weights kept the rest)


class EaseConfig(BaseModel):
    """Settings of `ease`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    regularization: float = Field(
        5.0, gt=0, description="Ridge, in units of the mean number of customers who want a modelled product."
    )
    memory_mb: int = Field(256, ge=1, description="Memory of the fit; it bounds the products that are modelled.")
    n_neighbours: int = Field(400, ge=1, description="Weights kept per product: the greatest, whatever their sign.")
    customer_items: int = Field(300, ge=1, description="Most products of a customer that are seen: his weightiest.")
    profile_items: int = Field(100, ge=1, description="Most items of a history that vote: the weightiest.")
    half_life_days: float = Field(90.0, gt=0, description="An event of the profile this old votes half.")
    evidence: EvidenceConfig = Field(default=EvidenceConfig(), description="What other events count, in purchases.")


@dataclass(frozen=True, eq=False)
class EaseModel:
    """Weights between the modelled products.

    Attributes
    ----------
    weights : CSR float32 [n_items, n_items]
        From each product to others; rows and columns of products left out are empty.
    n_modelled : int
        Products that the weights know.
    covered : float
        Share of the pairs of customer and product that are of modelled products; 1: nothing is left out.
    """

    config: EaseConfig
    weights: sp.csr_array
    n_modelled: int
    covered: float

    def _profile(self, query: Query) -> tuple[Int32s, Float64s]:
        c = self.config
        item_idx, weight = read_profile(query, c.evidence, c.half_life_days, self.weights.shape[0], c.profile_items)
        return item_idx, weight.astype(np.float64)

    def _scored(self, query: Query) -> tuple[Int32s, Float32s]:
        profile, weight = self._profile(query)
        if not len(profile):
            return NOTHING.item_idx, NOTHING.score
        near, vote = weighted_rows(self.weights, profile, weight)
        dense = np.bincount(near, weights=vote, minlength=self.weights.shape[0])
        found = np.flatnonzero(dense > 0).astype(np.int32)
        return found, dense[found].astype(np.float32)

    def candidates(self, query: Query, limit: int) -> Candidates:
        """Return the modelled products that the profile speaks for; nothing for a stranger."""
        return top_candidates(*self._scored(query), limit)

    def score(self, query: Query, item_idx: Int32s) -> Float32s:
        """Sum of the profile's weights: float32 [n], NaN for what it does not speak for."""
        return score_of_listed(item_idx, *self._scored(query))

    def because(self, query: Query, item_idx: int) -> int:
        """Return the profile's item that speaks most for `item_idx`, -1 when none does."""
        return strongest_origin(self.weights, *self._profile(query), item_idx)


def fit_ease(dataset: Dataset, config: EaseConfig, rng: np.random.Generator) -> EaseModel:  # noqa: ARG001
    """Invert; cost n_modelled^3 multiplications, memory about `memory_mb`, both whatever the size of the shop."""
    wanted = weightiest(pair_matrix(dataset, config.evidence, config.half_life_days), config.customer_items)
    wanted.data[:] = 1.0
    n_items = wanted.shape[1]
    buyers = np.bincount(wanted.indices, minlength=n_items)
    most = int(np.sqrt(config.memory_mb * 1e6 / BYTES_PER_PAIR))
    best = np.argsort(-buyers, kind="stable")[:most]
    modelled = np.sort(best[buyers[best] > 0]).astype(np.int32)
    if not len(modelled):
        nothing = (np.empty(0, np.float32), np.empty(0, np.int32), np.zeros(n_items + 1, np.int64))
        return EaseModel(config, sp.csr_array(nothing, shape=(n_items, n_items)), 0, 1.0)
    chosen = sp.csr_array(wanted[:, modelled])
    inverse = _inverse_of_gram(chosen, config.regularization * chosen.nnz / len(modelled))
    weights = _greatest(inverse, modelled, n_items, config.n_neighbours)
    return EaseModel(config, weights, len(modelled), chosen.nnz / wanted.nnz)


def _inverse_of_gram(wanted: sp.csr_array, ridge: float) -> Float32s:
    """Return (XᵀX + ridge I)^-1 of a customer × product matrix: float32 [n, n], its lower triangle filled only."""
    n = wanted.shape[1]
    gram = np.zeros((n, n), np.float32, order="F")
    turned = sp.csr_array(wanted.T.tocsr())
    for start, stop in pairwise([*range(0, n, 512), n]):
        # Symmetric, so that columns are rows and blocks of columns lie together in Fortran's order.
        gram[:, start:stop] = (turned[start:stop] @ wanted).toarray().T
    gram[np.diag_indices(n)] += np.float32(ridge)
    factor, _ = scipy.linalg.lapack.spotrf(gram, lower=1, overwrite_a=1)
    inverse, _ = scipy.linalg.lapack.spotri(factor, lower=1, overwrite_c=1)
    found: Float32s = inverse
    return found


def _greatest(inverse: Float32s, modelled: Int32s, n_items: int, limit: int) -> sp.csr_array:
    """Divide by the diagonal and keep each row's `limit` greatest weights: CSR float32 [n_items, n_items]."""
    n = len(modelled)
    diagonal = np.diag(inverse).copy()
    counts = np.zeros(n_items, np.int64)
    columns, values = [], []
    for row in range(n):
        weight = np.concatenate([inverse[row, :row], inverse[row:, row]]) / -diagonal
        weight[row] = 0.0
        size = np.abs(weight)
        keep = np.arange(n)
        if n > limit:
            least = np.partition(size, n - limit)[n - limit]
            keep = np.flatnonzero(size >= least)
            if len(keep) > limit:  # a tie at the cut: the lower index is kept
                keep = np.sort(keep[np.argsort(-size[keep], kind="stable")[:limit]])
        keep = keep[weight[keep] != 0]
        columns.append(modelled[keep])
        values.append(weight[keep])
        counts[modelled[row]] = len(keep)
    indptr = np.append(0, np.cumsum(counts)).astype(np.int64)
    return sp.csr_array((np.concatenate(values), np.concatenate(columns), indptr), shape=(n_items, n_items))
