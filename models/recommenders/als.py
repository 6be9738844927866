"""`als`: latent tastes by alternating least squares on implicit feedback.

Hu, Koren & Volinsky, 2008, "Collaborative filtering for implicit feedback datasets", eq. 3-5, trained by `implicit`
(its only door); customers are folded in here, exactly, from what the query knows of them.
"""

from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from implicit.cpu.als import AlternatingLeastSquares
from pydantic import BaseModel, ConfigDict, Field
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped] # ships no types

from features.arrays import Float32s, Float64s, Int32s
from features.dataset import Dataset
from models.forgetting import Gone, zeroed_rows
from models.index.choose import build_index
from models.index.faiss_index import FaissIndex
from models.query import NOTHING, Candidates, Query, top_candidates
from models.recommenders.evidence import EvidenceConfig, pair_matrix, read_profile
from models.recommenders.vectors import inner_products

ROOTS: Final = 1.5  # dimensions per √ of customers or products, whichever are fewer: 75 for 2,500, 256 for 30,000


class AlsConfig(BaseModel):
    """Settings of `als`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dim: int = Field(256, ge=1, le=1024, description="Dimensions of a taste; fewer where the data are few.")
    alpha: float = Field(80.0, gt=0, description="Confidence in one purchase, against 1 for none seen.")
    regularization: float = Field(
        0.065,
        gt=0,
        description="Ridge, in units of alpha × √(mean items per customer × mean customers per item): a weak taste is "
        "held to zero alike in a small shop and a big one.",
    )
    epochs: int = Field(8, ge=1, description="Passes over customers and products.")
    half_life_days: float = Field(180.0, gt=0, description="An event this old counts half of one today.")
    profile_items: int = Field(200, ge=1, description="Most items of a history that are folded in: the weightiest.")
    evidence: EvidenceConfig = Field(default=EvidenceConfig(), description="What other events count, in purchases.")


@dataclass(frozen=True, eq=False)
class AlsModel:
    """Factors of customers and products.

    Attributes
    ----------
    ridge : float
        The regularization in the units of the normal equations.
    customers : float32 [n_customers, dim]
        Taste of each customer at the fit, zero without events (for reports; answers fold the query's history in).
    items : float32 [n_items, dim]
        Zero for products nobody wanted.
    gram : float64 [dim, dim]
        itemsᵀ items + ridge I.
    index : FaissIndex
        Over `items`.
    """

    config: AlsConfig
    ridge: float
    customers: Float32s
    items: Float32s
    gram: Float64s
    index: FaissIndex

    def fold_in(self, item_idx: Int32s, weight: Float32s) -> Float32s:
        """Solve the taste (dim) of somebody who wants items (int32 [n]) with evidence (float32 [n] > 0), eq. 4."""
        wanted = self.items[item_idx].astype(np.float64)
        confidence = confidence_of(weight, self.config.alpha).astype(np.float64)
        normal = self.gram + wanted.T @ ((confidence - 1.0)[:, None] * wanted)
        solved: Float64s = scipy.linalg.solve(normal, wanted.T @ confidence, assume_a="pos", check_finite=False)
        return solved.astype(np.float32)

    def _taste(self, query: Query) -> Float32s | None:
        c = self.config
        item_idx, weight = read_profile(query, c.evidence, c.half_life_days, len(self.items), c.profile_items)
        return self.fold_in(item_idx, weight) if len(item_idx) else None

    def candidates(self, query: Query, limit: int) -> Candidates:
        """Return the products that fit the taste best, by the index; none for who has no history."""
        taste = self._taste(query)
        if taste is None:
            return NOTHING
        rows, _ = self.index.search(taste, limit)
        item_idx = rows.astype(np.int32)
        score = inner_products(self.items, item_idx, taste)
        return top_candidates(item_idx[score > 0], score[score > 0], limit)

    def score(self, query: Query, item_idx: Int32s) -> Float32s:
        """Inner product of taste and product: float32 [n], NaN for unknown products and for strangers."""
        taste = self._taste(query)
        known = (item_idx >= 0) & (item_idx < len(self.items))
        found = np.full(len(item_idx), np.nan, np.float32)
        if taste is not None:
            found[known] = inner_products(self.items, item_idx[known], taste)
        return found

    def without(self, gone: Gone) -> Self:
        """Forget some customers' tastes; no answer reads them."""
        return replace(self, customers=zeroed_rows(self.customers, gone.customer_idx))


def confidence_of(weight: Float32s, alpha: float) -> Float32s:
    """1 + α log₂(1 + weight): one purchase counts α, and each doubling of the purchases about α more."""
    confidence: Float32s = (1.0 + alpha * np.log2(1.0 + weight)).astype(np.float32)
    return confidence


def fit_als(dataset: Dataset, config: AlsConfig, rng: np.random.Generator) -> AlsModel:
    """Factorize on one thread; cost about epochs × (3 · 2 · pairs · dim + (customers + items) · dim²)."""
    seed = int(rng.integers(2**31 - 1))
    wanted = pair_matrix(dataset, config.evidence, config.half_life_days)
    n_customers, n_items = wanted.shape
    active = int((np.diff(wanted.indptr) > 0).sum()), len(np.unique(wanted.indices))
    dim = int(np.clip(ROOTS * np.sqrt(min(active)), 1, config.dim))
    if not wanted.nnz:
        return _made(config, 1.0, np.zeros((n_customers, dim), np.float32), np.zeros((n_items, dim), np.float32))
    ridge = config.regularization * config.alpha * wanted.nnz / float(np.sqrt(active[0] * active[1]))
    confidence = sp.csr_matrix(wanted)
    confidence.data = confidence_of(wanted.data, config.alpha)
    with threadpool_limits(1, "blas"):
        trained = AlternatingLeastSquares(
            factors=dim, regularization=ridge, alpha=1.0, iterations=config.epochs, num_threads=1, random_state=seed,
                    )  # fmt: skip
        trained.fit(confidence, show_progress=False)
        return _made(config, ridge, trained.user_factors, trained.item_factors)


def _made(config: AlsConfig, ridge: float, customers: Float32s, items: Float32s) -> AlsModel:
    # Who has no events keeps tiny random numbers from the start; zero says what is known.
    gram = items.astype(np.float64).T @ items.astype(np.float64) + ridge * np.eye(items.shape[1])
    return AlsModel(config, ridge, customers, items, gram, build_index(items))
