"""`userknn`: what the customers who share most with this one want, by a walk customer → product → customer → product.

The likeness of customers u and v is w = (Σ_i r_ui r_vi d_i^-a · d_v^-b)^g over the products i they share; d: degrees,
r: whether a product is wanted. A product j scores Σ_v w r_vj d_j^-c over the `n_neighbours` likest. Cosine has a = 0,
b = 1/2 (Sarwar, Karypis, Konstan & Riedl, 2000); holding back what everybody wants and amplifying, g > 1, are from
Breese, Heckerman & Kadie, 1998, §2.2. The customer's own row never votes for him.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import scipy.sparse as sp
from pydantic import BaseModel, ConfigDict, Field

from features.arrays import Float32s, Int32s
from features.dataset import Dataset
from models.forgetting import Gone, emptied_columns, emptied_rows
from models.query import NOTHING, Candidates, Query, top_candidates
from models.recommenders.evidence import EvidenceConfig, pair_matrix, read_profile, score_of_listed, votes_of_rows


class UserKnnConfig(BaseModel):
    """Settings of `userknn`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    item_exponent: float = Field(0.5, ge=0, le=2, description="a: how little a shared product counts if all want it.")
    customer_exponent: float = Field(0.7, ge=0, le=2, description="b: how much customers of many products are damped.")
    power: float = Field(1.4, gt=0, le=10, description="g: how much the likest outweigh the less like.")
    popularity_exponent: float = Field(0.2, ge=0, le=2, description="c: how much popular products are held back.")
    n_neighbours: int = Field(400, ge=1, le=10_000, description="Customers who vote.")
    profile_items: int = Field(200, ge=1, description="Most items of a history that are compared: the weightiest.")
    half_life_days: float = Field(90.0, gt=0, description="By this age items of a long history weigh half.")
    evidence: EvidenceConfig = Field(default=EvidenceConfig(), description="What other events count, in purchases.")


@dataclass(frozen=True, eq=False)
class UserKnnModel:
    """Who wants what, by product for finding neighbours and by customer for their votes.

    Attributes
    ----------
    by_item : CSR float32 [n_items, n_customers]
        d_i^-a · d_v^-b where customer v wants product i.
    votes : CSR float32 [n_customers, n_items]
        d_j^-c where customer v wants product j.
    """

    config: UserKnnConfig
    by_item: sp.csr_array
    votes: sp.csr_array

    def _scored(self, query: Query) -> tuple[Int32s, Float32s]:
        c, n_items = self.config, self.by_item.shape[0]
        profile, _ = read_profile(query, c.evidence, c.half_life_days, n_items, c.profile_items)
        if len(query.seeds) or not len(profile):
            return NOTHING.item_idx, NOTHING.score
        alike, likeness = votes_of_rows(self.by_item, profile, np.ones(len(profile)))
        other = alike != query.customer_idx
        best = top_candidates(alike[other], likeness[other], c.n_neighbours)
        return votes_of_rows(self.votes, best.item_idx, best.score.astype(np.float64) ** c.power)

    def candidates(self, query: Query, limit: int) -> Candidates:
        """Return what the neighbours want; nothing for a stranger or for seeds."""
        return top_candidates(*self._scored(query), limit)

    def score(self, query: Query, item_idx: Int32s) -> Float32s:
        """Sum of the neighbours' votes: float32 [n], NaN for what none of them wants."""
        return score_of_listed(item_idx, *self._scored(query))

    def without(self, gone: Gone) -> Self:
        """Take some customers from among the neighbours; they vote for nobody any more."""
        by_item = emptied_columns(self.by_item, gone.customer_idx)
        return replace(self, by_item=by_item, votes=emptied_rows(self.votes, gone.customer_idx))


def fit_userknn(dataset: Dataset, config: UserKnnConfig, rng: np.random.Generator) -> UserKnnModel:  # noqa: ARG001
    """Weigh who wants what; cost is one pass over the customers' products."""
    wanted = pair_matrix(dataset, config.evidence)
    customer = np.repeat(np.arange(wanted.shape[0]), np.diff(wanted.indptr))
    by_customer = np.maximum(np.diff(wanted.indptr), 1).astype(np.float64)
    by_item = np.maximum(np.bincount(wanted.indices, minlength=wanted.shape[1]), 1).astype(np.float64)
    rarity = by_item[wanted.indices]
    likeness = rarity**-config.item_exponent * by_customer[customer] ** -config.customer_exponent
    columns = (wanted.indices, wanted.indptr)
    near = sp.csr_array((likeness.astype(np.float32), *columns), shape=wanted.shape)
    votes = sp.csr_array(((rarity**-config.popularity_exponent).astype(np.float32), *columns), shape=wanted.shape)
    return UserKnnModel(config, sp.csr_array(near.T.tocsr()), votes)
