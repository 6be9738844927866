"""`gf_cf`: two filters of the graph of customers and products, a linear one and an ideal low pass.

Shen, Wu, Zhang, Zhang, Guo, Xue & Song, CIKM 2021, "How powerful is graph convolution for recommendation?", eq. 12-15:
with R~ = D_u^-1/2 R D_i^-1/2 a customer's row r scores r (R~ᵀR~ + a D_i^-1/2 V Vᵀ D_i^1/2), V the leading right
singular vectors of R~. Nothing is learned about a customer but his row: the query's history folds him in exactly.

Two cuts bound memory and time: R~ᵀR~ keeps the strongest entries of each row, and the low pass weighs what these reach.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy.sparse as sp
from pydantic import BaseModel, ConfigDict, Field

from features.arrays import Float32s, Float64s, Int32s
from features.dataset import Dataset
from models.query import NOTHING, Candidates, Query, top_candidates
from models.recommenders.evidence import EvidenceConfig, pair_matrix, read_profile, score_of_listed, votes_of_rows
from models.recommenders.itemknn import strongest_of_product, weightiest
from models.recommenders.vectors import inner_products

ROOTS: Final = 1.5  # dimensions per √ of customers or products, whichever are fewer, as in `als`


class GfCfConfig(BaseModel):
    """Settings of `gf_cf`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dim: int = Field(256, ge=1, le=2048, description="Singular vectors of the low pass; fewer where the data are few.")
    low_pass: float = Field(0.3, ge=0, le=10, description="a: what the low pass counts against the linear filter.")
    n_passes: int = Field(3, ge=1, le=20, description="Passes of the power method: more separate close directions.")
    n_neighbours: int = Field(400, ge=1, le=5000, description="Products that the linear filter keeps for each.")
    customer_items: int = Field(300, ge=1, description="Most products of a customer that are seen: his weightiest.")
    profile_items: int = Field(100, ge=1, description="Most items of a history that vote: the weightiest.")
    half_life_days: float = Field(90.0, gt=0, description="An event of the profile this old votes half.")
    block_pairs: int = Field(8_000_000, ge=1, description="Most entries of a block of the product × product matrix.")
    evidence: EvidenceConfig = Field(default=EvidenceConfig(), description="What other events count, in purchases.")


@dataclass(frozen=True, eq=False)
class GfCfModel:
    """Both filters.

    Attributes
    ----------
    linear : CSR float32 [n_items, n_items]
        The strongest entries of R~ᵀR~ in each row.
    directions : float32 [n_items, dim]
        V.
    root : float32 [n_items]
        D_i^1/2.
    """

    config: GfCfConfig
    linear: sp.csr_array
    directions: Float32s
    root: Float32s

    def _scored(self, query: Query) -> tuple[Int32s, Float32s]:
        c, n_items = self.config, self.linear.shape[0]
        profile, weight = read_profile(query, c.evidence, c.half_life_days, n_items, c.profile_items)
        if not len(profile):
            return NOTHING.item_idx, NOTHING.score
        found, near = votes_of_rows(self.linear, profile, weight.astype(np.float64))
        taste = np.einsum("ij,i->j", self.directions[profile], weight / self.root[profile])
        low = c.low_pass * self.root[found] * inner_products(self.directions, found, taste)
        score = (near + low).astype(np.float32)
        return found, score

    def candidates(self, query: Query, limit: int) -> Candidates:
        """Return what both filters let through; nothing for a stranger."""
        return top_candidates(*self._scored(query), limit)

    def score(self, query: Query, item_idx: Int32s) -> Float32s:
        """Sum of both filters: float32 [n], NaN for what the linear one does not reach."""
        return score_of_listed(item_idx, *self._scored(query))


def fit_gf_cf(dataset: Dataset, config: GfCfConfig, rng: np.random.Generator) -> GfCfModel:
    """Normalize, multiply, and find the leading directions.

    Cost Σ_u d_u² multiplications for the linear filter and n_passes × dim × (pairs + n_items · dim) for the low pass;
    memory one block and four matrices [n_items, dim].
    """
    wanted = weightiest(pair_matrix(dataset, config.evidence, config.half_life_days), config.customer_items)
    n_customers, n_items = wanted.shape
    by_customer = np.maximum(np.diff(wanted.indptr), 1).astype(np.float64)
    by_item = np.maximum(np.bincount(wanted.indices, minlength=n_items), 1).astype(np.float64)
    customer = np.repeat(np.arange(n_customers), np.diff(wanted.indptr))
    normal = (by_customer[customer] * by_item[wanted.indices]) ** -0.5
    scaled = sp.csr_array((normal.astype(np.float32), wanted.indices, wanted.indptr), shape=wanted.shape)
    turned = sp.csr_array(scaled.T.tocsr())
    linear = strongest_of_product(turned, scaled, config.n_neighbours, config.block_pairs)
    active = min(int((np.diff(wanted.indptr) > 0).sum()), len(np.unique(wanted.indices)))
    dim = int(np.clip(ROOTS * np.sqrt(active), 1, config.dim))
    directions = leading_directions(scaled, turned, min(dim, max(active, 1)), config.n_passes, rng)
    return GfCfModel(config, linear, directions.astype(np.float32), np.sqrt(by_item).astype(np.float32))


def leading_directions(
    matrix: sp.csr_array, turned: sp.csr_array, dim: int, n_passes: int, rng: np.random.Generator
) -> Float64s:
    """Return the leading right singular vectors of a sparse matrix [m, n], best first: float64 [n, dim].

    Randomized subspace iteration (Halko, Martinsson & Tropp, 2011, algorithms 4.4 and 5.1) with a few directions more
    than wanted; `turned` is the transpose. Columns past the rank are zero. Signs are fixed: the greatest entry is > 0.
    """
    n = matrix.shape[1]
    if not matrix.nnz:
        return np.zeros((n, dim))
    width = min(dim + max(8, dim // 8), n)
    basis = np.linalg.qr(rng.standard_normal((n, width)).astype(np.float32))[0]
    for _ in range(n_passes):
        basis = np.linalg.qr(turned @ (matrix @ basis))[0]
    image = (matrix @ basis).astype(np.float64)
    power, turn = np.linalg.eigh(image.T @ image)
    order = np.argsort(-power, kind="stable")[:dim]
    found = basis.astype(np.float64) @ turn[:, order]
    found[:, power[order] < 1e-6 * max(float(power.max()), 1e-12)] = 0.0
    greatest = found[np.argmax(np.abs(found), axis=0), np.arange(found.shape[1])]
    signed: Float64s = found * np.where(greatest < 0, -1.0, 1.0)
    return np.pad(signed, ((0, 0), (0, dim - signed.shape[1])))
