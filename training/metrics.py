"""Metrics per customer over the full catalogue, and customer bootstrap intervals.

A ranking is an int32 array [n_customers, k], best first, padded with -1; a truth (and a history) is a list of distinct
item indexes per customer. Every metric is a float64 array [n_customers], NaN where it says nothing of that customer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from features.arrays import AnyArray, Bools, Float64s, Int32s, Int64s

PER_CUSTOMER: Final = (
    "recall", "ndcg", "hit_rate", "mrr", "recall_repeat", "recall_explore", "repeat_share", "novelty", "popularity",
)  # fmt: skip
CHUNK: Final = 2_000_000


class Interval(BaseModel):
    """A mean over customers with its bootstrap interval; `n` customers had a value."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, eq=False)
class ItemSets:
    """A set of items for each of n customers, as sorted keys `customer * n_items + item` (int64)."""

    keys: Int64s
    sizes: Int64s
    n_items: int

    @classmethod
    def of(cls, sets: Sequence[Int32s], n_items: int) -> "ItemSets":
        """Take one array of item indexes per customer; duplicates and -1 are dropped."""
        rows = np.repeat(np.arange(len(sets), dtype=np.int64), [len(s) for s in sets])
        items = np.concatenate([np.empty(0, np.int32), *sets]).astype(np.int64)
        keys = np.unique((rows * n_items + items)[items >= 0])
        return cls(keys, np.bincount(keys // max(n_items, 1), minlength=len(sets)), n_items)

    def contain(self, shown: Int32s) -> Bools:
        """Whether each shown item is in its customer's set: bool [n, k]; -1 is in none."""
        wanted = np.arange(len(shown), dtype=np.int64)[:, None] * self.n_items + shown
        return self.has(wanted) & (shown >= 0)

    def minus(self, other: "ItemSets") -> "ItemSets":
        """Return what is here and not in `other`."""
        return self._of_keys(self.keys[~other.has(self.keys)])

    def intersect(self, other: "ItemSets") -> "ItemSets":
        """Return what is in both."""
        return self._of_keys(self.keys[other.has(self.keys)])

    def has(self, keys: Int64s) -> Bools:
        """Whether each key is in the set: bool, the shape of `keys`."""
        # The keys ascend: a search in them costs a hundredth of np.isin, which would sort or hash them each time.
        if not len(self.keys):
            return np.zeros(keys.shape, np.bool_)
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        held: Bools = self.keys[at] == keys
        return held

    def _of_keys(self, keys: Int64s) -> "ItemSets":
        sizes = np.bincount(keys // max(self.n_items, 1), minlength=len(self.sizes))
        return ItemSets(keys, sizes, self.n_items)


def recall(hits: Bools, n_truth: Int64s) -> Float64s:
    """Share of the truth that was shown; NaN without truth."""
    return _ratio(hits.sum(axis=1), n_truth)


def ndcg(hits: Bools, n_truth: Int64s) -> Float64s:
    """Normalized discounted cumulative gain (Järvelin, Kekäläinen 2002), binary; the ideal has min(k, truth) hits."""
    k = hits.shape[1]
    discount = 1.0 / np.log2(np.arange(k) + 2.0)
    ideal = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(n_truth, k)]
    return _ratio(hits @ discount, ideal)


def hit_rate(hits: Bools, n_truth: Int64s) -> Float64s:
    """1 when anything shown is in the truth; NaN without truth."""
    return np.where(n_truth > 0, hits.any(axis=1).astype(np.float64), np.nan)


def reciprocal_rank(hits: Bools, n_truth: Int64s) -> Float64s:
    """1 / rank of the first hit, 0 without one; NaN without truth."""
    first = np.where(hits.any(axis=1), 1.0 / (hits.argmax(axis=1) + 1.0), 0.0)
    return np.where(n_truth > 0, first, np.nan)


def _ratio(above: AnyArray, below: AnyArray) -> Float64s:
    result = np.full(len(above), np.nan)
    np.divide(above, below, out=result, where=np.asarray(below) > 0)
    return result


def judge(shown: Int32s, truth: ItemSets, known: ItemSets, buyer_share: Float64s) -> dict[str, Float64s]:
    """Return every metric of `PER_CUSTOMER` for a ranking cut at its own width k.

    Parameters
    ----------
    shown : int32 [n, k]
        Ranking, padded with -1.
    truth, known : ItemSets
        What was wanted afterwards, and what the customer had bought before.
    buyer_share : float64 [n_items]
        Share of customers who bought each item before: novelty is −log2 of it (Zhou et al. 2010, with one buyer
        more for everything, so that it is finite), popularity the share itself.
    """
    hits, repeats = truth.contain(shown), known.contain(shown)
    wanted_again, wanted_new = truth.intersect(known), truth.minus(known)
    return {
        "recall": recall(hits, truth.sizes),
        "ndcg": ndcg(hits, truth.sizes),
        "hit_rate": hit_rate(hits, truth.sizes),
        "mrr": reciprocal_rank(hits, truth.sizes),
        "recall_repeat": recall(hits & repeats, wanted_again.sizes),
        "recall_explore": recall(hits & ~repeats, wanted_new.sizes),
        "repeat_share": _ratio(repeats.sum(axis=1), (shown >= 0).sum(axis=1)),
        "novelty": _mean_of_shown(shown, -np.log2(buyer_share)),
        "popularity": _mean_of_shown(shown, buyer_share),
    }


def _mean_of_shown(shown: Int32s, value: Float64s) -> Float64s:
    there = shown >= 0
    padded = np.append(value, 0.0)  # index -1 reads the 0
    return _ratio(padded[shown].sum(axis=1), there.sum(axis=1))


def coverage(shown: Int32s, n_showable: int) -> float:
    """Share of the items that may be shown which at least one customer is shown; 0 when there are none."""
    return len(np.unique(shown[shown >= 0])) / n_showable if n_showable else 0.0


def bootstrap_intervals(
    values: Mapping[str, Float64s], rng: np.random.Generator, samples: int, level: float = 0.95
) -> dict[str, Interval]:
    """Mean over customers of each metric with its percentile bootstrap interval (Efron 1979).

    All metrics see the same resampled customers. NaN says nothing and is left out of its mean. For two systems pass the
    differences of the same customers: that is the paired bootstrap. Cost O(samples · customers · metrics).
    """
    if not values:
        return {}
    table = np.stack(list(values.values()), axis=1)
    n = len(table)
    there = ~np.isnan(table)
    if n == 0:
        return {name: Interval(mean=0.0, low=0.0, high=0.0, n=0) for name in values}
    filled = np.where(there, table, 0.0)
    drawn = np.empty((samples, table.shape[1]))
    step = max(1, CHUNK // n)
    for start in range(0, samples, step):
        rows = min(step, samples - start)
        chosen = rng.integers(0, n, (rows, n)) + np.arange(rows)[:, None] * n
        times = np.bincount(chosen.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)
        weight = times @ there
        with np.errstate(invalid="ignore"):
            drawn[start : start + rows] = np.where(weight > 0, (times @ filled) / weight, np.nan)
    return {
        name: _interval(filled[there[:, column], column], drawn[:, column], level) for column, name in enumerate(values)
    }


def _interval(values: Float64s, drawn: Float64s, level: float) -> Interval:
    if not len(values):
        return Interval(mean=0.0, low=0.0, high=0.0, n=0)
    low, high = np.quantile(drawn[~np.isnan(drawn)], [(1 - level) / 2, (1 + level) / 2])
    # Rounding must not put the mean of equal values outside its own interval.
    mean = float(values.mean())
    return Interval(mean=mean, low=min(float(low), mean), high=max(float(high), mean), n=len(values))


def means(metrics: Mapping[str, Float64s]) -> dict[str, float]:
    """Mean of each metric over the customers it says something of; 0 when there are none."""
    return {name: float(np.nanmean(v)) if (~np.isnan(v)).any() else 0.0 for name, v in metrics.items()}


class Reach(BaseModel):
    """What sources find of the truth with all that they propose, as shares of it, means over customers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    alone: dict[str, float] = Field(default_factory=dict, description="By source: what it finds")
    together: float = Field(0.0, description="What at least one finds: no order of the candidates can do better")
    added: dict[str, float] = Field(default_factory=dict, description="By source: what none of the others finds")


def measure_reach(found: Mapping[str, Int32s], truth: Int32s) -> Reach:
    """Return what the candidates of some sources hold of one customer's truth (int32 [n > 0], distinct)."""
    if not found:
        return Reach()
    hits = np.stack([np.isin(truth, item_idx) for item_idx in found.values()])
    finders = hits.sum(axis=0)
    alone, added = hits.mean(axis=1).tolist(), (hits & (finders == 1)).mean(axis=1).tolist()
    return Reach(
        alone=dict(zip(found, alone, strict=True)), together=float((finders > 0).mean()),
        added=dict(zip(found, added, strict=True)),
    )  # fmt: skip


def mean_reach(measured: Sequence[Reach]) -> Reach:
    """Average over customers who were asked about the same sources; of nobody nothing is said."""
    if not measured:
        return Reach()
    return Reach(
        alone=means_by_name([each.alone for each in measured]),
        together=float(np.mean([each.together for each in measured])),
        added=means_by_name([each.added for each in measured]),
    )


def means_by_name(values: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Average mappings with the same names."""
    return {name: float(np.mean([each[name] for each in values])) for name in values[0]}
