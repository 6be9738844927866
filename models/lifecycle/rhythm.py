"""Rhythm: on which days customers bought, how long their pauses are, and when silence is unusual for them."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from features.arrays import Float64s, Int64s
from features.history import DAY_US, Histories
from models.lifecycle.bgnbd import Customers
from models.lifecycle.config import LifecycleConfig

YEAR_DAYS: Final = 365
LEAST_GAPS: Final = 30  # of the shop; with fewer its thresholds are the standard ones
STANDARD_GAP_DAYS: Final = 30.0
STANDARD_RATIOS: Final = (3.0, 5.0, 12.0)  # slow, dormant, lost: between a grocer's and a record shop's


@dataclass(frozen=True, eq=False, slots=True)
class Rhythms:
    """The purchase days of some customers; every array is [n_customers].

    Attributes
    ----------
    n_days, year_days : int64
        Different days with a purchase, ever and within the last 365 days.
    first_day, last_day : int64
        Numbers of the shop's days, -1 where nothing was bought.
    log_gaps : float64
        Sum of the logarithms of the gaps, in days, between purchase days (n_days - 1 of them).
    """

    n_days: Int64s
    year_days: Int64s
    first_day: Int64s
    last_day: Int64s
    log_gaps: Float64s

    def typical_gap(self, shop_gap: float, prior: float) -> Float64s:
        """Typical days between purchases: the mean logarithm of own gaps, shrunk towards the shop's; float64 [n]."""
        n_gaps = np.maximum(self.n_days - 1, 0)
        gap: Float64s = np.exp((self.log_gaps + prior * np.log(shop_gap)) / (n_gaps + prior))
        return gap

    def customers(self, today: int) -> Customers:
        """Return them as BG/NBD sees them, in days; of who bought nothing the numbers mean nothing."""
        return Customers(
            np.maximum(self.n_days - 1, 0).astype(np.float64), (self.last_day - self.first_day).astype(np.float64),
            np.maximum(today - self.first_day, self.last_day - self.first_day).astype(np.float64),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Silence:
    """When silence is unusual, as multiples of a customer's own typical gap, learned from the shop's gaps.

    Attributes
    ----------
    gap_days : float
        Typical gap of the shop's customers.
    slow, dormant, lost : float
        Multiples that the configured shares of gaps stay below.
    n_gaps : int
        From how many gaps that was learned; below `LEAST_GAPS` the standard values stand.
    """

    gap_days: float
    slow: float
    dormant: float
    lost: float
    n_gaps: int

    @property
    def is_learned(self) -> bool:
        """Whether the shop's own gaps decided."""
        return self.n_gaps >= LEAST_GAPS


def purchase_days(bought: Histories, phase: int) -> tuple[Int64s, Int64s]:
    """Return the distinct (customer, shop's day) pairs of some purchases, ascending: int64 [m] each.

    A shop's day begins at `phase` µs after midnight UTC (to the hour: daylight saving moves it by one).
    """
    customer = bought.customer_idx.astype(np.int64)
    day = (bought.at - phase) // DAY_US
    first = np.ones(len(day), np.bool_)
    first[1:] = (customer[1:] != customer[:-1]) | (day[1:] != day[:-1])
    return customer[first], day[first]


def measure_rhythms(bought: Histories, phase: int, today: int) -> Rhythms:
    """Measure purchase days; sums run in the order of time, so a customer's numbers do not depend on who else is asked.

    `today` is the number of the shop's day of the question.
    """
    customer, day = purchase_days(bought, phase)
    n, n_days = bought.n_customers, np.bincount(customer, minlength=bought.n_customers)
    ends = np.cumsum(n_days)
    has = n_days > 0
    first_day, last_day = np.full(n, -1, np.int64), np.full(n, -1, np.int64)
    first_day[has], last_day[has] = day[(ends - n_days)[has]], day[ends[has] - 1]
    who, gap = _gaps(customer, day)
    lately = np.bincount(customer[day > today - YEAR_DAYS], minlength=n)
    log_gaps = np.bincount(who, np.log(gap.astype(np.float64)), n).astype(np.float64)
    return Rhythms(n_days, lately, first_day, last_day, log_gaps)


def _gaps(customer: Int64s, day: Int64s) -> tuple[Int64s, Int64s]:
    again = customer[1:] == customer[:-1]
    return customer[1:][again], np.diff(day)[again]


def learn_silence(bought: Histories, phase: int, config: LifecycleConfig) -> Silence:
    """Learn the shop's typical gap, and how much longer than expected of them the gaps of its customers are.

    Each gap is compared with what the same customer's earlier gaps, shrunk towards the shop's, made one expect; every
    customer has one say, however many gaps he has. Gaps still open tell nothing: the quantiles are of who came back.
    """
    who, gap = _gaps(*purchase_days(bought, phase))
    if len(gap) < LEAST_GAPS:
        return Silence(_few_gaps(gap), *STANDARD_RATIOS, len(gap))
    logs, weight = np.log(gap.astype(np.float64)), 1.0 / np.bincount(who)[who]
    mean = float((logs * weight).sum() / weight.sum())
    opens = np.flatnonzero(np.diff(who, prepend=-1))
    start = np.repeat(opens, np.diff(np.append(opens, len(who))))
    before = np.concatenate([np.zeros(1), np.cumsum(logs)])
    place = np.arange(len(who))
    usual = (before[place] - before[start] + config.gap_prior * mean) / (place - start + config.gap_prior)
    order = np.argsort(logs - usual, kind="stable")
    below = np.cumsum(weight[order]) / weight.sum()
    ratios = np.exp((logs - usual)[order])
    slow, dormant, lost = (
        max(float(ratios[min(int(np.searchsorted(below, share)), len(ratios) - 1)]), 1.0)
        for share in (config.slow_quantile, config.dormant_quantile, config.lost_quantile)
    )
    return Silence(float(np.exp(mean)), slow, max(dormant, slow), max(lost, dormant, slow), len(gap))


def _few_gaps(gap: Int64s) -> float:
    """Mean of a few gaps in logarithms, with ten gaps' worth of the standard one."""
    logs = float(np.log(gap.astype(np.float64)).sum())
    return float(np.exp((logs + 10 * np.log(STANDARD_GAP_DAYS)) / (len(gap) + 10)))
