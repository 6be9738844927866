"""`sequence`: what follows what, from the last steps of a history to the next one.

A first-order chain with memory (after Shani, Heckerman & Brafman, JMLR 2005, §3.2, "skipping" and its fading weights):
a step is what a customer did at one moment, a basket or a single event. Product i leads to product j by

    T[i, j] = Σ w(s, t) / |t|^g / (n_i^a · n_j^b)    over steps s with i and later steps t with j of the same customer,

w fading by `decay` with each step between and by half with every `half_life_days`; what stands in one step leads both
ways, at `together`. n_i: steps with i. T is directed: what leads from a printer to ink does not lead back.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from pydantic import BaseModel, ConfigDict, Field

from features.arrays import Float32s, Float64s, Int32s, Int64s
from features.dataset import Dataset
from features.history import DAY_US
from models.query import NOTHING, Candidates, Query, top_candidates
from models.recommenders.evidence import EvidenceConfig, score_of_listed, strongest_origin, votes_of_rows, weigh_events
from models.recommenders.itemknn import strongest_of_product


class SequenceConfig(BaseModel):
    """Settings of `sequence`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reach: int = Field(4, ge=1, le=50, description="How many steps ahead a product may still lead.")
    decay: float = Field(0.7, gt=0, le=1, description="Weight of a step one further ahead, or one further back.")
    half_life_days: float = Field(30.0, gt=0, description="Steps this far apart count half.")
    together: float = Field(0.3, ge=0, le=10, description="What standing in the same step counts.")
    size_exponent: float = Field(0.5, ge=0, le=2, description="g: how much the products of a big step are damped.")
    out_exponent: float = Field(1.0, ge=0, le=2, description="a: 1 makes T a rate, 0 a count.")
    in_exponent: float = Field(0.2, ge=0, le=2, description="b: how much popular products are held back.")
    n_neighbours: int = Field(200, ge=1, le=5000, description="Products kept that each leads to.")
    customer_steps: int = Field(300, ge=1, description="Most steps of a customer that are learned from: his last.")
    profile_steps: int = Field(10, ge=1, description="Last steps of a history that vote.")
    profile_items: int = Field(100, ge=1, description="Most items of them that vote: the weightiest.")
    block_pairs: int = Field(8_000_000, ge=1, description="Most entries of a block of the product × product matrix.")
    evidence: EvidenceConfig = Field(default=EvidenceConfig(), description="What other events count, in purchases.")


@dataclass(frozen=True, eq=False)
class SequenceModel:
    """Transitions.

    Attributes
    ----------
    follows : CSR float32 [n_items, n_items]
        T: the strongest entries of each row; a product may follow itself.
    """

    config: SequenceConfig
    follows: sp.csr_array

    def _profile(self, query: Query) -> tuple[Int32s, Float64s]:
        """Return the items of the last steps (int32 [n] ascending) and what each counts (float64 [n] > 0)."""
        c, n_items = self.config, self.follows.shape[0]
        if len(query.seeds):
            seeds = np.unique(query.seeds[(query.seeds >= 0) & (query.seeds < n_items)]).astype(np.int32)
            return seeds, np.ones(len(seeds))
        history = query.history
        evidence = c.evidence.by_kind()[history.kind]
        known = (history.item_idx >= 0) & (history.item_idx < n_items) & (evidence > 0)
        item, at = history.item_idx[known], history.at[known]
        if not len(item):
            return NOTHING.item_idx, np.empty(0)
        moments, step = np.unique(at, return_inverse=True)
        back = len(moments) - 1 - step
        weight = evidence[known] * c.decay**back * np.exp2(-(moments[-1] - at) / DAY_US / c.half_life_days)
        late = back < c.profile_steps
        items, place = np.unique(item[late], return_inverse=True)
        total = np.bincount(place, weight[late], len(items)).astype(np.float64)
        keep = np.sort(np.argsort(-total, kind="stable")[: c.profile_items])
        keep = keep[total[keep] > 0]
        return items[keep].astype(np.int32), total[keep]

    def _scored(self, query: Query) -> tuple[Int32s, Float32s]:
        profile, weight = self._profile(query)
        if not len(profile):
            return NOTHING.item_idx, NOTHING.score
        return votes_of_rows(self.follows, profile, weight)

    def candidates(self, query: Query, limit: int) -> Candidates:
        """Return what follows the last steps (or the seeds); nothing for a stranger."""
        return top_candidates(*self._scored(query), limit)

    def score(self, query: Query, item_idx: Int32s) -> Float32s:
        """Sum of the transitions to it: float32 [n], NaN for what nothing of the last steps leads to."""
        return score_of_listed(item_idx, *self._scored(query))

    def because(self, query: Query, item_idx: int) -> int:
        """Return the item of the last steps that leads most to `item_idx`, -1 when none does."""
        return strongest_origin(self.follows, *self._profile(query), item_idx)


@dataclass(frozen=True, eq=False, slots=True)
class _Steps:
    """Every customer's steps, his own one after the other in the order of time.

    `items` CSR float32 [n_steps, n_items] (what each event says, in purchases); `customer` int32, `at` int64 [n_steps].
    """

    items: sp.csr_array
    customer: Int32s
    at: Int64s


def fit_sequence(dataset: Dataset, config: SequenceConfig, rng: np.random.Generator) -> SequenceModel:  # noqa: ARG001
    """Count transitions; cost `reach` × Σ |s| |t| over neighbouring steps, memory one block at a time."""
    steps = _read_steps(dataset, config)
    n_items = steps.items.shape[1]
    size = np.maximum(np.diff(steps.items.indptr), 1).astype(np.float64)
    counts = np.maximum(np.bincount(steps.items.indices, minlength=n_items), 1).astype(np.float64)
    arriving = steps.items.copy()
    step = np.repeat(np.arange(len(size)), np.diff(arriving.indptr))
    damped = arriving.data * size[step] ** -config.size_exponent * counts[arriving.indices] ** -config.in_exponent
    arriving.data = damped.astype(np.float32)
    ahead = sp.csr_array(_ahead(steps, config) @ arriving)
    leaving = sp.csr_array(steps.items.T.tocsr())
    leaving.data = np.repeat(counts**-config.out_exponent, np.diff(leaving.indptr)).astype(np.float32)
    return SequenceModel(
        config, strongest_of_product(leaving, ahead, config.n_neighbours, config.block_pairs, own=True)
    )


def _ahead(steps: _Steps, config: SequenceConfig) -> sp.csr_array:
    """Weigh every pair of a step and one of the same customer's next `reach` steps, itself at `together`: CSR."""
    n = len(steps.at)
    rows, columns, weights = [np.arange(n)], [np.arange(n)], [np.full(n, config.together)]
    for lag in range(1, config.reach + 1):
        row = np.flatnonzero(steps.customer[lag:] == steps.customer[: max(n - lag, 0)])
        days = (steps.at[row + lag] - steps.at[row]) / DAY_US
        rows.append(row)
        columns.append(row + lag)
        weights.append(config.decay ** (lag - 1) * np.exp2(-days / config.half_life_days))
    entries = np.concatenate(weights).astype(np.float32), (np.concatenate(rows), np.concatenate(columns))
    return sp.csr_array(sp.coo_array(entries, shape=(n, n)))


def _read_steps(dataset: Dataset, config: SequenceConfig) -> _Steps:
    """Gather the events that speak for their item by (customer, moment)."""
    events = dataset.product_events
    weight = weigh_events(config.evidence, events.kind, events.at, dataset.as_of)
    keep = weight > 0
    customer, at = events.customer_idx[keep], events.at[keep]
    item, weight = events.item_idx[keep], weight[keep]
    fresh = np.ones(len(at), np.bool_)
    fresh[1:] = (customer[1:] != customer[:-1]) | (at[1:] != at[:-1])
    step = np.cumsum(fresh) - 1
    who, when = customer[fresh], at[fresh]
    last = np.searchsorted(who, who, side="right")
    late = last - np.arange(len(who)) <= config.customer_steps
    chosen = late[step] if len(step) else np.zeros(0, np.bool_)
    number = np.cumsum(late) - 1
    # The greatest event of an item in a step speaks for it: two units, or a click before the purchase, are one wish.
    row, column, said = number[step[chosen]], item[chosen], weight[chosen]
    order = np.lexsort((-said, column, row))
    row, column, said = row[order], column[order], said[order]
    first = np.ones(len(row), np.bool_)
    first[1:] = (row[1:] != row[:-1]) | (column[1:] != column[:-1])
    n_steps = int(late.sum())
    indptr = np.append(0, np.cumsum(np.bincount(row[first], minlength=n_steps))).astype(np.int64)
    values = (said[first].astype(np.float32), column[first].astype(np.int32), indptr)
    return _Steps(sp.csr_array(values, shape=(n_steps, len(dataset.products))), who[late], when[late])
