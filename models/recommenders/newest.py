"""`newest`: what came to the shop last, whoever asks; what may have been there from the first day did not come."""

from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from features import columns as c
from features.arrays import Bools, Float32s, Int32s, Int64s
from features.dataset import Dataset
from features.history import DAY_US
from models.arrivals import Arrivals, grown_to
from models.query import Candidates, Query
from models.recommenders.evidence import score_of_known

UNKNOWN: int = -(2**62)
NEVER: Final = 2**62
UNDATED: Final = 0  # `valid_from` of a row that says nothing of when it began to hold (features.dataset)
CHANCE: Final = 0.01


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
        UTC µs, see `arrivals`; `UNKNOWN` for what is none.
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
    """When each product came: int64 [n_items], UTC µs; `UNKNOWN` for what may have been there from the first day.

    The first of these that says anything:

    1. `created_at`.
    2. The first row of the catalogue, if it is dated and no event came before it. Later than the catalogue's own first
       row by more than a day (a load takes its time), it is the arrival; of that first load, in a shop that had no
       events before it, the product was always there.
    3. The first event, if it came clearly after the shop's first. Had the product been there all along, that all of its
       n customers met it only in this last share of the shop's time would have the chance share^n: at most `CHANCE`.

    What lies at or after the dataset's moment is not known yet.
    """
    first, opened = _first_events(dataset), int(dataset.product_events.at.min(initial=dataset.as_of))
    row, load = _first_rows(dataset)
    says = (row > UNDATED) & (row <= first)
    is_later = row > load + DAY_US
    always = says & ~is_later & (load <= opened)
    by_event = np.where(~always & _came_clearly_late(dataset, first, opened), first, UNKNOWN)
    arrived_at = _or_else(_created(dataset), np.where(says & is_later, row, by_event))
    known: Int64s = np.where(arrived_at < dataset.as_of, arrived_at, UNKNOWN).astype(np.int64)
    return known


def first_seen(dataset: Dataset) -> Int64s:
    """Since when each product is known to be for sale, `created_at` or its first event: int64 [n_items] as above."""
    first = _first_events(dataset)
    seen_at = _or_else(_created(dataset), np.where(first < NEVER, first, UNKNOWN))
    known: Int64s = np.where(seen_at < dataset.as_of, seen_at, UNKNOWN).astype(np.int64)
    return known


def _or_else(told: Int64s, otherwise: Int64s) -> Int64s:
    both: Int64s = np.where(told > UNKNOWN, told, otherwise)
    return both


def _created(dataset: Dataset) -> Int64s:
    frame = dataset.products.frame
    if "created_at" not in frame.columns:
        return np.full(len(frame), UNKNOWN, np.int64)
    return frame["created_at"].fill_null(UNKNOWN).to_numpy().astype(np.int64)


def _first_events(dataset: Dataset) -> Int64s:
    """Moment of each product's first event: int64 [n_items], `NEVER` where there is none."""
    first = np.full(len(dataset.products), NEVER, np.int64)
    np.minimum.at(first, dataset.product_events.item_idx, dataset.product_events.at)
    return first


def _first_rows(dataset: Dataset) -> tuple[Int64s, int]:
    """Moment of each product's first catalogue row (`UNDATED` where it has none that is dated), and of the first."""
    versions = dataset.products.versions.filter(pl.col(c.VALID_FROM) < dataset.as_of)
    row = np.full(len(dataset.products), NEVER, np.int64)
    np.minimum.at(row, versions["idx"].to_numpy(), versions[c.VALID_FROM].to_numpy())
    return np.where(row < NEVER, row, UNDATED), int(row.min(initial=NEVER))


def _came_clearly_late(dataset: Dataset, first: Int64s, opened: int) -> Bools:
    events, n_items = dataset.product_events, len(first)
    met = np.unique(events.customer_idx.astype(np.int64) * n_items + events.item_idx) % max(n_items, 1)
    share = np.clip((dataset.as_of - first) / max(dataset.as_of - opened, 1), 1e-12, 1.0)
    late: Bools = (first < NEVER) & (np.bincount(met, minlength=n_items) * np.log(share) <= np.log(CHANCE))
    return late
