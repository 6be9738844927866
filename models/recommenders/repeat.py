"""`repeat`: what this customer buys again and again, lately more than long ago."""

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from features.arrays import Float32s, Int32s
from features.dataset import Dataset
from models.query import NOTHING, Candidates, Query, top_candidates
from models.recommenders.evidence import EvidenceConfig, score_of_listed, sum_by_item


class RepeatConfig(BaseModel):
    """Settings of `repeat`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    half_life_days: float = Field(80.0, gt=0, description="A purchase this old counts half of one today.")
    popularity: float = Field(
        0.3, ge=0, description="What the shop's most bought item gains, in purchases; 0.001 tells only ties apart."
    )
    evidence: EvidenceConfig = Field(default=EvidenceConfig(), description="What other events count, in purchases.")


@dataclass(frozen=True, eq=False)
class RepeatModel:
    """Personal frequency; all that is fitted is the order of ties.

    Attributes
    ----------
    lift : float32 [n_items]
        `popularity` × buyers / most buyers: of items about equally dear to the customer, the one that the whole shop
        buys comes first. Tiny beside one purchase for nearly every item.
    """

    config: RepeatConfig
    lift: Float32s

    def _scored(self, query: Query) -> tuple[Int32s, Float32s]:
        if len(query.seeds):
            return NOTHING.item_idx, NOTHING.score
        item_idx, weight = sum_by_item(query.history, self.config.evidence, query.moment, self.config.half_life_days)
        keep = (weight > 0) & (item_idx < len(self.lift))
        item_idx = item_idx[keep]
        return item_idx, (weight[keep] + self.lift[item_idx]).astype(np.float32)

    def candidates(self, query: Query, limit: int) -> Candidates:
        """Return what the customer has shown a wish for, from the query's own history; nothing for seeds."""
        return top_candidates(*self._scored(query), limit)

    def score(self, query: Query, item_idx: Int32s) -> Float32s:
        """Decayed count of baskets with the item: float32 [n], NaN for what the customer never wanted."""
        return score_of_listed(item_idx, *self._scored(query))


def fit_repeat(dataset: Dataset, config: RepeatConfig, rng: np.random.Generator) -> RepeatModel:  # noqa: ARG001
    """Count the buyers of each item, to tell ties apart."""
    bought = dataset.product_events.purchases
    n_items = len(dataset.products)
    pairs = np.unique(bought.customer_idx.astype(np.int64) * max(n_items, 1) + bought.item_idx)
    buyers = np.bincount(pairs % max(n_items, 1), minlength=n_items)
    return RepeatModel(config, (config.popularity * buyers / max(buyers.max(initial=0), 1)).astype(np.float32))
