"""What is known of each item from everybody's purchases: the tables that ranking features look up (DESIGN §2, (b)).

Counts are of (basket, item) pairs: an item bought twice in one basket counts once, a basket is `order_idx`. Days are
the shop's local days, numbered from the epoch.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from features.arrays import Bools, Float32s, Float64s, Int32s, Int64s
from features.clock import shop_day_start
from features.dataset import Dataset
from features.history import DAY_US, Histories
from features.kind_facts import KindFacts, fit_kind_facts, mean_prices

SINCE_BINS: Final = np.array([1, 2, 3, 4, 5, 7, 10, 15, 25], np.int64)  # lower edges, in baskets since the last one
REBUY_PRIOR: Final = 10.0  # customers' worth of the whole shop's share of buyers who buy again
HAZARD_PRIOR: Final = 15.0  # baskets' worth of the whole shop's hazard
GAP_PRIOR: Final = 5.0  # gaps' worth of the whole shop's mean gap
SIZE_PRIOR: Final = 5.0  # baskets' worth of the whole shop's basket size
_SPAN: Final = 1 << 20  # more days than any shop has: makes (item, day) one sortable number


@dataclass(frozen=True, eq=False)
class ItemFacts:
    """Per-item tables, fitted on what lies before a moment; n is the number of items.

    Attributes
    ----------
    phase : int
        UTC µs within a day at which the shop's day begins.
    baskets, buyers : float32 [n]
        Baskets with the item, and customers who bought it.
    rebuy_rate : float32 [n]
        Share of its buyers who bought it again, shrunk towards the shop's.
    hazard : float32 [n, 9]
        Probability of being in the customer's next basket, by baskets since it was last there (`SINCE_BINS`). Open
        spells count as exposure (discrete-time hazard of survival analysis), shrunk towards the shop's.
    log_gap_days, log_gap_baskets : float32 [n]
        Mean logarithm of the gap between two purchases by one customer, shrunk towards the shop's.
    inverse_size : float32 [n]
        Mean of 1 / basket size over the baskets with the item, shrunk: high for what is bought by itself.
    price : float32 [n]
        Mean price paid per unit, NaN where unknown.
    category : int32 [n]
        Code of the category, -1 where unknown.
    indptr : int64 [n + 1]
        Item i owns `indptr[i]:indptr[i + 1]` of the next two.
    day_key : int64 [m]
        item · 2^20 + day, ascending, for every day on which the item was bought.
    day_total : int32 [m]
        Baskets with the item up to and including that day.
    days, totals : int64 [d]
        The shop's days with purchases, ascending, and the lines up to and including each.
    kinds : KindFacts
    """

    phase: int
    baskets: Float32s
    buyers: Float32s
    rebuy_rate: Float32s
    hazard: Float32s
    log_gap_days: Float32s
    log_gap_baskets: Float32s
    inverse_size: Float32s
    price: Float32s
    category: Int32s
    indptr: Int64s
    day_key: Int64s
    day_total: Int32s
    days: Int64s
    totals: Int64s
    kinds: KindFacts

    @cached_property
    def rebuyers(self) -> Float64s:
        """Customers who bought each item again: float64 [n], counted; taken back out of the shrunk rate.

        With r the shrunk rates, b the buyers and p the prior, the shop's own rate is Σ r (b + p) / Σ (b + p).
        """
        weight = self.buyers.astype(np.float64) + REBUY_PRIOR
        weighed = self.rebuy_rate.astype(np.float64) * weight
        counted: Float64s = np.round(weighed - REBUY_PRIOR * (weighed.sum() / max(float(weight.sum()), 1.0)))
        return counted

    @property
    def n_items(self) -> int:
        """Number of items."""
        return len(self.baskets)

    def day_of(self, moment: int) -> int:
        """Number of the local day that begins at `moment` (to the hour: daylight saving moves it by one)."""
        return round((moment - self.phase) / DAY_US)

    def bought_before(self, item_idx: Int32s, days: Int64s) -> Int64s:
        """Count baskets with each item strictly before each day: int64 [n_days, n]."""
        if not len(self.day_key):
            return np.zeros((len(days), len(item_idx)), np.int64)
        place = np.searchsorted(self.day_key, item_idx.astype(np.int64) * _SPAN + days[:, None])
        counts: Int64s = np.where(place > self.indptr[item_idx], self.day_total[np.maximum(place - 1, 0)], 0)
        return counts.astype(np.int64)

    def all_before(self, days: Int64s) -> Int64s:
        """Count the lines of all items strictly before each day: int64 [n_days]."""
        return np.concatenate([np.zeros(1, np.int64), self.totals])[np.searchsorted(self.days, days)]


@dataclass(frozen=True, slots=True)
class _Lines:
    """Distinct (customer, basket, item) triples ascending in (customer, item, basket), with the basket's day."""

    customer: Int64s
    item: Int64s
    basket: Int64s
    day: Int64s
    n_baskets: Int64s  # per customer


def fit_item_facts(dataset: Dataset) -> ItemFacts:
    """Count once over all purchases; cost is one sort of them."""
    n_items = len(dataset.products)
    phase = shop_day_start(dataset.as_of, dataset.timezone, dataset.day_starts) % DAY_US
    bought = dataset.product_events.purchases
    lines = _distinct_lines(bought, phase)
    baskets = np.bincount(lines.item, minlength=n_items).astype(np.float64)
    opens = _firsts(lines)
    buyers = np.bincount(lines.item[opens], minlength=n_items).astype(np.float64)
    hazard, log_gap_days, log_gap_baskets, rebuyers = _repurchase(lines, opens, n_items)
    rate = _shrunk(rebuyers, buyers, REBUY_PRIOR)
    category = dataset.products.codes("category")[0]
    kinds = fit_kind_facts(dataset, category, rebuyers, buyers, lines.customer[opens], lines.item[opens])
    return ItemFacts(
        phase, _f32(baskets), _f32(buyers), _f32(rate), _f32(hazard), _f32(log_gap_days), _f32(log_gap_baskets),
        _f32(_inverse_sizes(lines, baskets, n_items)), mean_prices(bought, n_items),
        category, *_day_tables(lines, n_items), kinds,
    )  # fmt: skip


def _f32(values: Float64s) -> Float32s:
    return values.astype(np.float32)


def _distinct_lines(bought: Histories, phase: int) -> _Lines:
    customer = bought.customer_idx.astype(np.int64)
    order = np.lexsort((bought.order_idx, bought.item_idx, customer))
    who, item, basket = (
        customer[order],
        bought.item_idx[order].astype(np.int64),
        bought.order_idx[order].astype(np.int64),
    )
    first = np.ones(len(who), np.bool_)
    first[1:] = (who[1:] != who[:-1]) | (item[1:] != item[:-1]) | (basket[1:] != basket[:-1])
    n_baskets = np.zeros(bought.n_customers, np.int64)
    np.maximum.at(n_baskets, customer, bought.order_idx.astype(np.int64) + 1)
    day = (bought.at[order][first] - phase) // DAY_US
    return _Lines(who[first], item[first], basket[first], day, n_baskets)


def _firsts(lines: _Lines) -> Bools:
    first = np.ones(len(lines.item), np.bool_)
    first[1:] = (lines.customer[1:] != lines.customer[:-1]) | (lines.item[1:] != lines.item[:-1])
    return first


def _shrunk(part: Float64s, whole: Float64s, prior: float) -> Float64s:
    overall = part.sum() / max(whole.sum(), 1.0)
    shrunk: Float64s = (part + prior * overall) / (whole + prior)
    return shrunk


def _repurchase(lines: _Lines, opens: Bools, n_items: int) -> tuple[Float64s, Float64s, Float64s, Float64s]:
    """Hazard by baskets since the last one, mean log gaps in days and baskets, and buyers who bought again."""
    closes = np.roll(opens, -1)  # the last line of each (customer, item): the next one opens another
    again = ~opens[1:]
    item = lines.item[1:][again]
    gap = (lines.basket[1:] - lines.basket[:-1])[again]
    gap_days = (lines.day[1:] - lines.day[:-1])[again]
    tail = (lines.n_baskets[lines.customer] - 1 - lines.basket)[closes]
    upper = np.append(SINCE_BINS[1:], 1 << 40)
    bought, exposed = np.zeros((n_items, len(SINCE_BINS))), np.zeros((n_items, len(SINCE_BINS)))
    np.add.at(bought, (item, np.searchsorted(SINCE_BINS, gap, "right") - 1), 1.0)
    for column, low in enumerate(SINCE_BINS):
        for spell, of in ((gap, item), (tail, lines.item[closes])):
            waited = np.clip(np.minimum(spell, upper[column] - 1) - low + 1, 0, None)
            exposed[:, column] += np.bincount(of, waited, n_items)
    overall = (bought.sum(0) + 1) / (exposed.sum(0) + 10)
    hazard = (bought + HAZARD_PRIOR * overall) / (exposed + HAZARD_PRIOR)
    count = np.bincount(item, minlength=n_items)
    gaps = [
        (np.bincount(item, value, n_items) + GAP_PRIOR * (value.mean() if len(value) else fallback))
        / (count + GAP_PRIOR)
        for value, fallback in ((np.log(np.maximum(gap_days, 1)), 3.0), (np.log(np.maximum(gap, 1)), 1.0))
    ]
    second = again & opens[:-1]
    rebuyers = np.bincount(lines.item[1:][second], minlength=n_items).astype(np.float64)
    return hazard, gaps[0], gaps[1], rebuyers


def _inverse_sizes(lines: _Lines, baskets: Float64s, n_items: int) -> Float64s:
    start = np.concatenate([[0], np.cumsum(lines.n_baskets)])[lines.customer] + lines.basket
    inverse = 1.0 / np.bincount(start)[start] if len(start) else np.empty(0)
    overall = inverse.mean() if len(inverse) else 1.0
    return (np.bincount(lines.item, inverse, n_items) + SIZE_PRIOR * overall) / (baskets + SIZE_PRIOR)


def _day_tables(lines: _Lines, n_items: int) -> tuple[Int64s, Int64s, Int32s, Int64s, Int64s]:
    key, count = np.unique(lines.item * _SPAN + lines.day, return_counts=True)
    indptr = np.searchsorted(key, np.arange(n_items + 1) * _SPAN).astype(np.int64)
    running = np.cumsum(count)
    before = np.concatenate([[0], running])[indptr[:-1]]
    total = (running - np.repeat(before, np.diff(indptr))).astype(np.int32)
    days, per_day = np.unique(lines.day, return_counts=True)
    return indptr, key, total, days, np.cumsum(per_day).astype(np.int64)
