"""Evidence: how much each event of a history says that its customer wants its item."""

from typing import Final

import numpy as np
import scipy.sparse as sp
from pydantic import BaseModel, ConfigDict, Field

from features.arrays import Float32s, Float64s, Int32s, Int64s, UInt8s
from features.columns import EventKind
from features.dataset import Dataset
from features.history import DAY_US, Histories, History
from models.query import Query


class EvidenceConfig(BaseModel):
    """What one event counts by its kind, in purchases; kinds not named say nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    purchase: float = Field(1.0, ge=0, description="An item in a basket, however many units of it.")
    cart: float = Field(0.1, ge=0)
    favorite: float = Field(0.1, ge=0)
    share: float = Field(0.1, ge=0)
    click: float = Field(0.02, ge=0)
    view: float = Field(0.01, ge=0)
    refund: float = Field(-1.0, le=0)
    dislike: float = Field(-5.0, le=0)

    def by_kind(self) -> Float64s:
        """Weight by event kind number: float64 [n_kinds]."""
        weight = np.zeros(len(EventKind))
        for name, value in self:
            weight[EventKind[name]] = value
        return weight


NO_DECAY: Final = float("inf")


def weigh_events(
    config: EvidenceConfig, kind: UInt8s, at: Int64s, moment: int, half_life_days: float = NO_DECAY
) -> Float64s:
    """Weight of each event: float64 [n]; one half as old as `half_life_days` counts half, today's counts in full."""
    age_days = np.maximum(moment - at, 0) / DAY_US
    return config.by_kind()[kind] * np.exp2(-age_days / half_life_days)


def sum_by_item(
    history: History, config: EvidenceConfig, moment: int, half_life_days: float = NO_DECAY
) -> tuple[Int32s, Float64s]:
    """Sum a history's evidence by item: (item_idx int32 [n] ascending, weight float64 [n]); unknown items left out.

    An item counts once per basket: two lines of one order, or two units, are one wish.
    """
    known = np.flatnonzero(history.item_idx >= 0)
    if not len(known):
        return np.empty(0, np.int32), np.empty(0)
    item, basket = history.item_idx[known].astype(np.int64), history.order_idx[known].astype(np.int64)
    weight = weigh_events(config, history.kind[known], history.at[known], moment, half_life_days)
    order = np.lexsort((basket, item))
    item, basket, weight = item[order], basket[order], weight[order]
    first = np.append(True, item[1:] != item[:-1])
    again = ~first & (basket >= 0) & np.append(False, basket[1:] == basket[:-1])
    weight[again] = 0.0
    return item[first].astype(np.int32), np.add.reduceat(weight, np.flatnonzero(first))


def read_profile(
    query: Query, config: EvidenceConfig, half_life_days: float, n_items: int, limit: int
) -> tuple[Int32s, Float32s]:
    """Return what a query starts from: (item_idx int32 [≤ limit] ascending, weight float32 > 0).

    Seeds count one each and replace the history; of a long history the `limit` weightiest items are kept. Items at or
    beyond `n_items` are unknown to the model and left out.
    """
    if len(query.seeds):
        item_idx = np.unique(query.seeds[(query.seeds >= 0) & (query.seeds < n_items)]).astype(np.int32)
        return item_idx, np.ones(len(item_idx), np.float32)
    item_idx, weight = sum_by_item(query.history, config, query.moment, half_life_days)
    keep = np.flatnonzero((weight > 0) & (item_idx < n_items))
    if len(keep) > limit:
        keep = np.sort(keep[np.argsort(-weight[keep], kind="stable")[:limit]])
    return item_idx[keep], weight[keep].astype(np.float32)


def pair_matrix(dataset: Dataset, config: EvidenceConfig, half_life_days: float = NO_DECAY) -> sp.csr_array:
    """Evidence of every customer and product: CSR float32 [n_customers, n_products], positive entries only."""
    return pairs_of(dataset.product_events, len(dataset.products), dataset.as_of, config, half_life_days)


def pairs_of(
    events: Histories, n_items: int, moment: int, config: EvidenceConfig, half_life_days: float = NO_DECAY
) -> sp.csr_array:
    """Evidence of every customer and item of one kind: CSR float32 [n_customers, n_items], positive entries only."""
    n_customers = len(events.indptr) - 1
    weight = weigh_events(config, events.kind, events.at, moment, half_life_days)
    pair = events.customer_idx.astype(np.int64) * max(n_items, 1) + events.item_idx
    order = np.lexsort((events.order_idx, pair))
    pair, basket, weight = pair[order], events.order_idx[order], weight[order]
    if len(pair):
        again = (pair[1:] == pair[:-1]) & (basket[1:] >= 0) & (basket[1:] == basket[:-1])
        weight[1:][again] = 0.0
    first = np.flatnonzero(np.diff(pair, prepend=-1))
    total = np.add.reduceat(weight, first) if len(pair) else weight
    keep = total > 0
    pair = pair[first][keep]
    indptr = np.zeros(n_customers + 1, np.int64)
    np.cumsum(np.bincount(pair // max(n_items, 1), minlength=n_customers), out=indptr[1:])
    columns = (pair % max(n_items, 1)).astype(np.int32)
    return sp.csr_array((total[keep].astype(np.float32), columns, indptr.astype(np.int32)), (n_customers, n_items))


def score_of_known(item_idx: Int32s, dense: Float32s) -> Float32s:
    """Look scores up in a dense vector [n_items]: float32 [n], NaN for items unknown to the model."""
    known = (item_idx >= 0) & (item_idx < len(dense))
    found = np.full(len(item_idx), np.nan, np.float32)
    found[known] = dense[item_idx[known]]
    return found


def score_of_listed(item_idx: Int32s, listed: Int32s, score: Float32s) -> Float32s:
    """Look scores up in a sparse list (`listed` int32 ascending, with scores): float32 [n], NaN where not listed."""
    found = np.full(len(item_idx), np.nan, np.float32)
    if len(listed):
        row = np.minimum(np.searchsorted(listed, item_idx), len(listed) - 1)
        hit = listed[row] == item_idx
        found[hit] = score[row[hit]]
    return found


def weighted_rows(matrix: sp.csr_array, rows: Int32s, weight: Float64s) -> tuple[Int32s, Float64s]:
    """Return the columns and weighted values of some rows, one row after the other."""
    start, stop = matrix.indptr[rows], matrix.indptr[rows + 1]
    parts = [slice(a, b) for a, b in zip(start.tolist(), stop.tolist(), strict=True)]
    if not parts:
        return np.empty(0, np.int32), np.empty(0)
    columns = np.concatenate([matrix.indices[part] for part in parts])
    return columns, np.concatenate([matrix.data[part] for part in parts]) * np.repeat(weight, stop - start)


def votes_of_rows(matrix: sp.csr_array, rows: Int32s, weight: Float64s) -> tuple[Int32s, Float32s]:
    """Add up some rows, each times its weight: (columns int32 ascending, sums float32), columns that sum to 0 apart."""
    total = matrix[rows].T @ weight
    column = np.flatnonzero(total != 0).astype(np.int32)  # a comparison first: NumPy finds bits, not floats, fast
    return column, total[column].astype(np.float32)


def strongest_origin(matrix: sp.csr_array, profile: Int32s, weight: Float64s, item_idx: int) -> int:
    """Return the item of a profile whose weighted row gives `item_idx` most, -1 when none gives it anything."""
    start, stop = matrix.indptr[profile], matrix.indptr[profile + 1]
    near, vote = weighted_rows(matrix, profile, weight)
    hits = np.flatnonzero((near == item_idx) & (vote > 0))
    if not len(hits):
        return -1
    origin = np.repeat(np.arange(len(profile)), stop - start)[hits]
    return int(profile[origin[int(np.argmax(vote[hits]))]])
