"""`popular`: what many buy lately, within the customer's segment where enough is known of it."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from features.arrays import Float32s, Int32s
from features.columns import EventKind
from features.dataset import Dataset
from features.history import DAY_US
from models.query import Candidates, Query, top_of_dense

ALL: Final = 0


class PopularConfig(BaseModel):
    """Settings of `popular`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    half_life_days: float = Field(60.0, gt=0, description="A purchase this old counts half of one today.")
    segment_attribute: str = Field("", description="Customer attribute that forms segments; empty: one segment.")
    prior_customers: float = Field(
        50.0, ge=0, description="Weight of the whole shop in a segment's ranking, in customers."
    )


@dataclass(frozen=True, eq=False)
class PopularModel:
    """Recency-weighted number of buyers of each item, per segment.

    Attributes
    ----------
    segments : tuple of str
        Attribute values by row number; row 0 is the whole shop.
    weight : float32 [n_segments, n_items]
        Decayed number of distinct (customer, item) purchases, shrunk towards the whole shop.
    """

    config: PopularConfig
    segments: tuple[str, ...]
    weight: Float32s

    def _row(self, query: Query) -> Float32s:
        value = query.attributes.get(self.config.segment_attribute, "") if self.config.segment_attribute else ""
        row: Float32s = self.weight[self.segments.index(value) if value in self.segments else ALL]
        return row

    def candidates(self, query: Query, limit: int) -> Candidates:
        """Return the most bought items; strangers get them too, since nothing here is personal."""
        return top_of_dense(self._row(query), limit)

    def score(self, query: Query, item_idx: Int32s) -> Float32s:
        """Decayed number of buyers: float32 [n]."""
        return self._row(query)[item_idx]


def fit_popular(dataset: Dataset, config: PopularConfig, rng: np.random.Generator) -> PopularModel:  # noqa: ARG001
    """Count decayed buyers; a customer counts once per item, at the last purchase of it: hoarders do not vote twice."""
    bought = dataset.product_events.where(dataset.product_events.kind == EventKind.purchase)
    who, n_items = bought.customer_idx, len(dataset.products)
    pair = who.astype(np.int64) * max(n_items, 1) + bought.item_idx
    # Histories ascend in time within a customer: the first of the reversed array is the last purchase.
    _, last = np.unique(pair[::-1], return_index=True)
    last = len(pair) - 1 - last
    age_days = (dataset.as_of - bought.at[last]) / DAY_US
    vote = np.exp2(-age_days / config.half_life_days)
    whole = np.bincount(bought.item_idx[last], weights=vote, minlength=n_items)
    rows, names = [whole.astype(np.float64)], ["*"]
    attribute = config.segment_attribute
    if attribute and attribute in dataset.customers.frame.columns:
        codes, labels = dataset.customers.codes(attribute)
        share = whole / max(len(np.unique(who)), 1)
        for code, label in enumerate(labels):
            inside = codes[who[last]] == code
            own = np.bincount(bought.item_idx[last][inside], weights=vote[inside], minlength=n_items)
            rows.append(own + config.prior_customers * share)
            names.append(label)
    return PopularModel(config, tuple(names), np.stack(rows).astype(np.float32))
