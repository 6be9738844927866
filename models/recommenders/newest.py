"""`newest`: what came to the shop last, whoever asks."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from features.arrays import Float32s, Int32s, Int64s
from features.dataset import Dataset
from features.history import DAY_US
from models.arrivals import Arrivals, grown_to
from models.query import Candidates, Query
from models.recommenders.evidence import score_of_known

UNKNOWN: int = -(2**62)


class NewestConfig(BaseModel):
    """Settings of `newest`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    half_life_days: float = Field(14.0, gt=0, description="Age at which an arrival is half as fresh as one of today.")
    window_days: float = Field(90.0, gt=0, description="What came longer ago is no arrival any more.")


@dataclass(frozen=True, eq=False)
class NewestModel:
    """Arrival times.

    Attributes
    ----------
    arrived_at : int64 [n_items]
        UTC µs: `created_at`, else the first event; `UNKNOWN` without either, or when it lies after the fit.
    order : int32 [n_known]
        Products with an arrival, newest first, ties by index.
    """

    config: NewestConfig
    arrived_at: Int64s
    order: Int32s

    def _freshness(self, query: Query, item_idx: Int32s) -> Float32s:
        # 1 / (1 + age / half-life) is ½ at the half-life and, unlike 2^-age, never falls to zero for old stock.
        age_days = np.maximum(query.moment - self.arrived_at[item_idx], 0) / DAY_US
        fresh: Float32s = (1.0 / (1.0 + age_days / self.config.half_life_days)).astype(np.float32)
        return fresh

    def candidates(self, query: Query, limit: int) -> Candidates:
        """Return the newest arrivals of the window, the same for everybody."""
        newest = self.order[:limit]
        newest = newest[self.arrived_at[newest] > query.moment - self.config.window_days * DAY_US]
        score = self._freshness(query, newest)
        # Arrivals of one day are equally fresh at the day's moment; among equals the index decides.
        again = np.lexsort((newest, -score))
        return Candidates(newest[again], score[again])

    def score(self, query: Query, item_idx: Int32s) -> Float32s:
        """Freshness in (0, 1]: float32 [n], NaN where the arrival is not known."""
        every = np.arange(len(self.arrived_at), dtype=np.int32)
        fresh = np.where(self.arrived_at > UNKNOWN, self._freshness(query, every), np.float32(np.nan))
        return score_of_known(item_idx, fresh.astype(np.float32))

    def grown(self, arrivals: Arrivals) -> Self:
        """Return the model that also knows when some products came."""
        arrived_at = grown_to(arrivals.n_items, self.arrived_at, UNKNOWN)
        arrived_at[arrivals.item_idx] = arrivals.frame["created_at"].fill_null(UNKNOWN).to_numpy()
        late = np.arange(arrivals.n_trained, arrivals.n_items, dtype=np.int32)
        late = late[arrived_at[late] > UNKNOWN]
        late = late[np.argsort(-arrived_at[late], kind="stable")]
        old = self.order[self.order < arrivals.n_trained]
        place = np.searchsorted(-arrived_at[old], -arrived_at[late], side="right")
        return replace(self, arrived_at=arrived_at, order=np.insert(old, place, late))


def fit_newest(dataset: Dataset, config: NewestConfig, rng: np.random.Generator) -> NewestModel:  # noqa: ARG001
    """Find when each product came."""
    arrived_at = arrivals(dataset)
    order = np.argsort(-arrived_at, kind="stable").astype(np.int32)
    return NewestModel(config, arrived_at, order[: int((arrived_at > UNKNOWN).sum())])


def arrivals(dataset: Dataset) -> Int64s:
    """When each product came: int64 [n_items], see `NewestModel.arrived_at`."""
    events, n_items = dataset.product_events, len(dataset.products)
    first = np.full(n_items, 2**62, np.int64)
    np.minimum.at(first, events.item_idx, events.at)
    frame = dataset.products.frame
    arrived_at = np.where(first < 2**62, first, UNKNOWN)
    if "created_at" in frame.columns:
        arrived_at = frame["created_at"].fill_null(UNKNOWN).to_numpy().astype(np.int64)
        arrived_at = np.where((arrived_at == UNKNOWN) & (first < 2**62), first, arrived_at)
    known: Int64s = np.where(arrived_at < dataset.as_of, arrived_at, UNKNOWN).astype(np.int64)
    return known
