"""`next_basket`: what customers with a like rhythm of baskets buy, by neighbours over recency-decayed baskets.

After UP-CF@r and TIFU-KNN (Faggioli, Polato & Aiolli, UMAP 2020; Hu, He, Gao & Zhang, SIGIR 2020): a customer is the
vector of decayed basket counts Σ_b decay^age(b) · [item in b]; neighbours by cosine under inverse customer frequency;
the score is the neighbours' mean vector, weighted by similarity ** power. The customer's own row never votes for him.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import scipy.sparse as sp
from pydantic import BaseModel, ConfigDict, Field

from features.arrays import Float32s, Float64s, Int32s
from features.dataset import Dataset
from features.history import History
from features.purchases import read_purchases
from models.forgetting import Gone, emptied_columns, emptied_rows
from models.query import NOTHING, Candidates, Query, top_candidates
from models.recommenders.evidence import score_of_listed, votes_of_rows


class NextBasketConfig(BaseModel):
    """Settings of `next_basket`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    decay: float = Field(0.9, gt=0, le=1, description="Weight of a basket one older than another.")
    idf_power: float = Field(
        0.5, ge=0, le=2, description="How much rare items weigh more in the likeness of customers."
    )
    n_neighbours: int = Field(300, ge=1, le=10_000, description="Customers who vote.")
    power: float = Field(2.0, gt=0, le=10, description="Exponent of a neighbour's similarity in its vote.")
    vector_items: int = Field(200, ge=1, description="Most items of a customer's vector: the weightiest.")


@dataclass(frozen=True, eq=False)
class NextBasketModel:
    """The customers' decayed vectors, by customer for voting and by item for finding neighbours.

    Attributes
    ----------
    rarity : float32 [n_items]
        Inverse customer frequency.
    vectors : CSR float32 [n_customers, n_items]
        Decayed basket counts.
    by_item : CSR float32 [n_items, n_customers]
        The same under `rarity`, each customer scaled to length 1, transposed.
    """

    config: NextBasketConfig
    rarity: Float32s
    vectors: sp.csr_array
    by_item: sp.csr_array

    def _scored(self, query: Query) -> tuple[Int32s, Float32s]:
        if len(query.seeds):
            return NOTHING.item_idx, NOTHING.score
        item, weight = self._vector(query)
        if not len(item):
            return NOTHING.item_idx, NOTHING.score
        neighbour, vote = self._neighbours(query.customer_idx, item, weight)
        return votes_of_rows(self.vectors, neighbour, vote)

    def _vector(self, query: Query) -> tuple[Int32s, Float64s]:
        return _decayed(query.history, query.moment, len(self.rarity), self.config)

    def _neighbours(self, customer_idx: int, item: Int32s, weight: Float64s) -> tuple[Int32s, Float64s]:
        scaled = weight * self.rarity[item]
        scaled /= max(float(np.sqrt((scaled**2).sum())), 1e-12)
        alike, likeness = votes_of_rows(self.by_item, item, scaled)
        other = alike != customer_idx
        best = top_candidates(alike[other], likeness[other], self.config.n_neighbours)
        vote = best.score.astype(np.float64) ** self.config.power
        return best.item_idx, vote / max(float(vote.sum()), 1e-12)

    def candidates(self, query: Query, limit: int) -> Candidates:
        """Return what the neighbours' baskets hold; nothing for a stranger or for seeds."""
        return top_candidates(*self._scored(query), limit)

    def score(self, query: Query, item_idx: Int32s) -> Float32s:
        """Mean decayed count over the neighbours: float32 [n], NaN for what none of them bought."""
        return score_of_listed(item_idx, *self._scored(query))

    def without(self, gone: Gone) -> Self:
        """Take some customers from among the neighbours; they vote for nobody any more."""
        by_item = emptied_columns(self.by_item, gone.customer_idx)
        return replace(self, by_item=by_item, vectors=emptied_rows(self.vectors, gone.customer_idx))


def _decayed(history: History, moment: int, n_items: int, config: NextBasketConfig) -> tuple[Int32s, Float64s]:
    """Return a customer's vector: items (int32 ascending) and decayed basket counts."""
    bought = read_purchases(history, moment, n_items)
    item, row = np.unique(bought.item, return_inverse=True)
    weight = np.bincount(row, config.decay**bought.age, len(item)).astype(np.float64)
    keep = np.sort(np.argsort(-weight, kind="stable")[: config.vector_items])
    return item[keep].astype(np.int32), weight[keep]


def fit_next_basket(dataset: Dataset, config: NextBasketConfig, rng: np.random.Generator) -> NextBasketModel:  # noqa: ARG001
    """Decay every customer's baskets; cost is one pass over the purchases."""
    events, n_items = dataset.product_events, len(dataset.products)
    indptr, columns, values = [0], [], []
    for customer_idx in range(events.n_customers):
        item, weight = _decayed(events.of(customer_idx), dataset.as_of, n_items, config)
        columns.append(item)
        values.append(weight.astype(np.float32))
        indptr.append(indptr[-1] + len(item))
    shape = (events.n_customers, n_items)
    data = np.concatenate(values) if values else np.empty(0, np.float32)
    indices = np.concatenate(columns) if columns else np.empty(0, np.int32)
    vectors = sp.csr_array((data, indices, np.array(indptr, np.int64)), shape=shape)
    buyers = np.bincount(indices, minlength=n_items)
    rarity = (np.log((events.n_customers + 1) / (buyers + 1)) ** config.idf_power).astype(np.float32)
    scaled = vectors.copy()
    scaled.data = scaled.data * rarity[scaled.indices]
    customer = np.repeat(np.arange(shape[0]), np.diff(vectors.indptr))
    length = np.sqrt(np.bincount(customer, scaled.data.astype(np.float64) ** 2, shape[0]))
    scaled.data = (scaled.data / np.maximum(length, 1e-12)[customer]).astype(np.float32)
    return NextBasketModel(config, rarity, vectors, sp.csr_array(scaled.T.tocsr()))
