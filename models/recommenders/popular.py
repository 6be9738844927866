"""`popular`: what many buy lately, within the customer's segment where enough is known of it."""

from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from features.arrays import Float32s, Float64s, Int32s
from features.attributes import read_attributes
from features.dataset import Dataset
from features.history import DAY_US
from models.forgetting import Gone
from models.query import Candidates, Query
from models.recommenders.evidence import score_of_known

ALL: Final = 0


class PopularConfig(BaseModel):
    """Settings of `popular`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    half_life_days: float = Field(60.0, gt=0, description="A purchase this old counts half of one today.")
    exponent: float = Field(
        0.75,
        gt=0,
        le=1,
        description="A customer's say on an item is his baskets with it to this power; 1: every basket counts.",
    )
    segment_attribute: str = Field("", description="Customer attribute that forms segments; empty: one segment.")
    prior_customers: float = Field(
        500.0, ge=0, description="Weight of the whole shop in a segment's ranking, in customers."
    )


@dataclass(frozen=True, eq=False)
class PopularModel:
    """What customers have to say of each item, recency-weighted, per segment.

    Attributes
    ----------
    segments : tuple of str
        Attribute values by row number; row 0 is the whole shop.
    weight : float32 [n_segments, n_items]
        Sum over customers of (decayed baskets with the item)^exponent, shrunk towards the whole shop.
    order : int32 [n_segments, n_items]
        Items by descending weight, ties by index; sorted once, so that an answer is a slice.
    n_bought : int32 [n_segments]
        How many items have a weight above 0.
    """

    config: PopularConfig
    segments: tuple[str, ...]
    weight: Float32s
    order: Int32s
    n_bought: Int32s

    def _row(self, query: Query) -> int:
        value = query.attributes.get(self.config.segment_attribute, "") if self.config.segment_attribute else ""
        return self.segments.index(value, ALL + 1) if value in self.segments[ALL + 1 :] else ALL

    def candidates(self, query: Query, limit: int) -> Candidates:
        """Return the most bought items; strangers get them too, since nothing here is personal."""
        row = self._row(query)
        best = np.array(self.order[row, : min(limit, int(self.n_bought[row]))])
        return Candidates(best, self.weight[row, best])

    def score(self, query: Query, item_idx: Int32s) -> Float32s:
        """Weight: float32 [n], NaN for items the release does not know."""
        return score_of_known(item_idx, self.weight[self._row(query)])

    def without(self, gone: Gone) -> Self:
        """Forget the segments in which nobody else is."""
        theirs = {value for name, value in gone.attributes if name == self.config.segment_attribute}
        kept = [row for row, name in enumerate(self.segments) if row == ALL or name not in theirs]
        segments = tuple(self.segments[row] for row in kept)
        return replace(
            self, segments=segments, weight=np.array(self.weight[kept]), order=np.array(self.order[kept]),
            n_bought=np.array(self.n_bought[kept]),
        )  # fmt: skip


def fit_popular(dataset: Dataset, config: PopularConfig, rng: np.random.Generator) -> PopularModel:  # noqa: ARG001
    """Count decayed baskets, a customer's to a power below 1: who comes back says more, who hoards does not outvote."""
    who, item, vote = _votes(dataset, config)
    n_items = len(dataset.products)
    whole = np.bincount(item, weights=vote, minlength=n_items)
    rows: list[Float64s] = [whole.astype(np.float64)]
    names = ["*"]
    if config.segment_attribute:
        values = np.array(
            [known.get(config.segment_attribute, "") for known in read_attributes(dataset.customers)], str
        )
        share = whole / max(len(np.unique(who)), 1)
        for name in sorted(set(values.tolist()) - {""}):
            inside = values[who] == name
            own = np.bincount(item[inside], weights=vote[inside], minlength=n_items)
            rows.append(own + config.prior_customers * share)
            names.append(name)
    weight = np.stack(rows).astype(np.float32)
    order = np.argsort(-weight, axis=1, kind="stable").astype(np.int32)
    return PopularModel(config, tuple(names), weight, order, (weight > 0).sum(axis=1).astype(np.int32))


def _votes(dataset: Dataset, config: PopularConfig) -> tuple[Int32s, Int32s, Float64s]:
    """Return each distinct (customer, item) bought and its say: customers and items int32 [n], votes float64 [n]."""
    bought, n_items = dataset.product_events.purchases, max(len(dataset.products), 1)
    pair = bought.customer_idx.astype(np.int64) * n_items + bought.item_idx
    order = np.lexsort((bought.order_idx, pair))
    pair, basket = pair[order], bought.order_idx[order]
    count = np.exp2(-(dataset.as_of - bought.at[order]) / DAY_US / config.half_life_days)
    count[1:][(pair[1:] == pair[:-1]) & (basket[1:] >= 0) & (basket[1:] == basket[:-1])] = 0.0  # one basket, one wish
    first = np.flatnonzero(np.diff(pair, prepend=-1))
    total = np.add.reduceat(count, first) if len(pair) else count
    known = pair[first]
    return (known // n_items).astype(np.int32), (known % n_items).astype(np.int32), total**config.exponent
