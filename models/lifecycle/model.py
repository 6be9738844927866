"""The part `lifecycle`: what of customers is learned from everybody, and what of each histories do not tell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np

from features import columns as c
from features.arrays import Bools, Float64s, Int64s
from features.clock import shop_day_start
from features.dataset import MOMENT_MAX, Dataset
from features.history import DAY_US, Histories
from features.trails import Trail, Trails, joined_trails
from models.forgetting import Gone
from models.lifecycle.bgnbd import BgNbd, Customers, fit_bgnbd, prior_of
from models.lifecycle.config import LifecycleConfig
from models.lifecycle.facts import Thresholds
from models.lifecycle.goods import Goods, fit_goods
from models.lifecycle.money import BasketValue, Money, learn_basket_value, line_amounts, measure_money
from models.lifecycle.rhythm import (
    STANDARD_GAP_DAYS,
    STANDARD_RATIOS,
    Rhythms,
    Silence,
    learn_silence,
    measure_rhythms,
    purchase_days,
)  # fmt: skip
from models.seams import CandidateSource

MOST_FITTED: Final = 100_000  # customers that the rhythm of a shop is learned from; more change no third digit
OUT_OF_REACH: Final = 1e300  # a value that nobody has: where there are no active buyers to compare with
VALUE_DAYS: Final = 90.0


@dataclass(frozen=True, eq=False)
class LifecycleModel:
    """What profiles are made with.

    Attributes
    ----------
    timezone : str
        The shop's.
    phase : int
        UTC µs within a day at which the shop's day begins.
    rhythm : BgNbd
        In days.
    rhythm_with_prior : bool
        Whether too few customers came back, so that a prior helped.
    basket : BasketValue
        What a purchase day is worth.
    trails : Trails
        Channels, events about no item and discounts told, by customer of the release.
    line_indptr : int64 [n_customers + 1]
        Where each customer's rows of `trails.told` begin: as in the release's product histories.
    invited_indptr, invited_at : int64 [n_customers + 1], int64 [m]
        When those who name each customer as inviter came (UTC µs), ascending.
    """

    config: LifecycleConfig
    timezone: str
    phase: int
    rhythm: BgNbd
    rhythm_with_prior: bool
    basket: BasketValue
    thresholds: Thresholds
    goods: Goods
    trails: Trails
    line_indptr: Int64s
    invited_indptr: Int64s
    invited_at: Int64s

    @classmethod
    def empty(cls) -> Self:
        """Return the part of a release that was made before there was one: it has standard thresholds only."""
        config, none = LifecycleConfig(), np.empty(0, np.float32)
        silence = Silence(STANDARD_GAP_DAYS, *STANDARD_RATIOS, 0)
        goods = Goods(
            none.astype(np.int32), (), none.astype(np.int32), (), none, none, none, *(none.astype(np.float64),) * 3
        )
        at_once, start = config.model == "mbg_nbd", np.zeros(1, np.int64)
        return cls(
            config, "UTC", 0, prior_of(STANDARD_GAP_DAYS, dies_at_once=at_once), rhythm_with_prior=True,
            basket=BasketValue(0.0, 1.0), goods=goods, trails=Trails.none(0), line_indptr=start,
            thresholds=Thresholds(silence, config.loyal_days, OUT_OF_REACH, OUT_OF_REACH, True, 0.0),  # noqa: FBT003 - a value's field
            invited_indptr=start, invited_at=np.empty(0, np.int64),
        )  # fmt: skip

    def day_of(self, at: int) -> int:
        """Return the number of the shop's day of a moment (UTC µs)."""
        return (at - self.phase) // DAY_US

    def trail_of(self, person: Sequence[int]) -> Trail:
        """Return the trail of one person, given by his customers of the release."""
        return joined_trails([self.trails.of(idx) for idx in person or (-1,)])

    def told_of(self, person: Sequence[int], histories: Histories, at: int = MOMENT_MAX) -> Bools:
        """Return of which lines of a person's history in the release the shop told a discount: bool [n], its order.

        `histories` are those of the release; only lines strictly before `at` (UTC µs).
        """
        rows = [slice(int(histories.indptr[idx]), int(histories.indptr[idx + 1])) for idx in person]
        moments = np.concatenate([np.empty(0, np.int64), *(histories.at[row] for row in rows)])
        order = np.argsort(moments, kind="stable")
        n_before = int(np.searchsorted(moments[order], at, side="left"))
        if len(self.trails.told) != len(histories):  # nobody told of any
            return np.zeros(n_before, np.bool_)
        told: Bools = np.concatenate([np.empty(0, np.bool_), *(self.trails.told[row] for row in rows)])
        return told[order][:n_before]

    def n_invited(self, person: Sequence[int], at: int) -> int:
        """Count who came before a moment and names the person as inviter."""
        found = 0
        for idx in person:
            if idx < len(self.invited_indptr) - 1:
                came = self.invited_at[int(self.invited_indptr[idx]) : int(self.invited_indptr[idx + 1])]
                found += int(np.searchsorted(came, at, side="left"))
        return found

    def without(self, gone: Gone) -> Self:
        """Return the part with nothing of some customers left."""
        stays = np.ones(self.trails.n_customers, np.bool_)
        stays[gone.among(len(stays))] = False
        lines = np.repeat(stays, np.diff(self.line_indptr))
        kept = np.repeat(stays, np.diff(self.trails.indptr))
        came = np.repeat(stays, np.diff(self.invited_indptr))
        trails = self.trails.where(kept, lines if len(self.trails.told) else self.trails.told)
        return replace(
            self, trails=trails.without_lone_channels(),
            line_indptr=_emptied(self.line_indptr, stays), invited_indptr=_emptied(self.invited_indptr, stays),
            invited_at=self.invited_at[came],
        )  # fmt: skip

    def expected(self, days: float, rhythms: Rhythms, today: int) -> Float64s:
        """Purchase days expected within `days`: float64 [n], 0 for who never bought."""
        found: Float64s = np.where(rhythms.n_days > 0, self.rhythm.expected(days, rhythms.customers(today)), 0.0)
        return found

    def value(self, rhythms: Rhythms, money: Money, today: int) -> Float64s:
        """Spend expected within 90 days (purchase days where the shop's prices are unknown): float64 [n]."""
        expected = self.expected(VALUE_DAYS, rhythms, today)
        if self.thresholds.in_purchases:
            return expected
        worth: Float64s = expected * self.basket.of(money.spend, rhythms.n_days)
        return worth


def fit_lifecycle(
    dataset: Dataset, sources: Mapping[str, CandidateSource], config: LifecycleConfig, rng: np.random.Generator
) -> LifecycleModel:
    """Learn the shop's rhythm, thresholds and prices from everything before the dataset's moment."""
    del sources
    phase = shop_day_start(dataset.as_of, dataset.timezone, dataset.day_starts) % DAY_US
    today, bought = (dataset.as_of - phase) // DAY_US, dataset.product_events.purchases
    events, goods = dataset.product_events, fit_goods(dataset, config.category_depth)
    trails = dataset.trails or Trails.none(len(dataset.customers), len(events))
    silence = learn_silence(bought, phase, config)
    rhythms = measure_rhythms(bought, phase, today)
    fitted = fit_bgnbd(
        _some(rhythms.customers(today), rhythms.n_days > 0, rng), silence.gap_days,
        dies_at_once=config.model == "mbg_nbd",
    )  # fmt: skip
    money = measure_money(events, trails.told, goods, config, dataset.as_of)
    n_lines = int(money.lines.sum())
    in_purchases = int(money.priced_lines.sum()) * 2 <= n_lines
    rate = int(money.discounted.sum()) / max(n_lines, 1)
    invited_indptr, invited_at = _invited(dataset)
    model = LifecycleModel(
        config, dataset.timezone, phase, fitted.model, fitted.with_prior, _basket_value(bought, goods, phase),
        Thresholds(silence, config.loyal_days, OUT_OF_REACH, OUT_OF_REACH, in_purchases, rate), goods, trails,
        events.indptr, invited_indptr, invited_at,
    )  # fmt: skip
    return replace(model, thresholds=_thresholds(model, rhythms, money, today))


def _some(who: Customers, buyers: Bools, rng: np.random.Generator) -> Customers:
    chosen = np.flatnonzero(buyers)
    if len(chosen) > MOST_FITTED:
        chosen = np.sort(rng.choice(chosen, MOST_FITTED, replace=False))
    return Customers(who.x[chosen], who.t_x[chosen], who.age[chosen])


def _basket_value(bought: Histories, goods: Goods, phase: int) -> BasketValue:
    """Learn what a purchase day is worth."""
    customer, amount = line_amounts(bought, goods)
    _, days = purchase_days(bought, phase)
    day = (bought.at - phase) // DAY_US
    opens = np.ones(len(day), np.bool_)
    opens[1:] = (customer[1:] != customer[:-1]) | (day[1:] != day[:-1])
    place = np.cumsum(opens) - 1
    return learn_basket_value(customer[opens], np.bincount(place, amount, len(days)).astype(np.float64))


def _thresholds(model: LifecycleModel, rhythms: Rhythms, money: Money, today: int) -> Thresholds:
    """Compare with the active buyers of the shop, and with those who came back."""
    config, told = model.config, model.thresholds
    gaps = rhythms.typical_gap(told.silence.gap_days, config.gap_prior)
    active = (rhythms.n_days > 0) & (today - rhythms.last_day <= told.silence.dormant * gaps)
    again = (rhythms.n_days > 1) & (rhythms.year_days > 0)
    if again.any():
        told = replace(told, loyal_days=max(config.loyal_days, int(np.median(rhythms.year_days[again]))))
    if not active.any():
        return told
    value = model.value(rhythms, money, today)[active]
    high, potential = np.quantile(value, [config.high_quantile, config.potential_quantile]).tolist()
    return replace(told, high_value=high, potential_value=potential)


def _invited(dataset: Dataset) -> tuple[Int64s, Int64s]:
    """Return when those who name each customer as inviter came, in compressed-row form."""
    frame, n = dataset.customers.frame, len(dataset.customers)
    if "inviter_id" not in frame.columns:
        return np.zeros(n + 1, np.int64), np.empty(0, np.int64)
    named = frame.filter(frame["inviter_id"].is_not_null()).select("inviter_id", "joined_at", c.VALID_FROM)
    inviter = dataset.customers.ids.idxs(named["inviter_id"].to_list()).astype(np.int64)
    came = named["joined_at"].fill_null(named[c.VALID_FROM]).fill_null(0).to_numpy().astype(np.int64)
    inviter, came = inviter[inviter >= 0], came[inviter >= 0]
    order = np.lexsort((came, inviter))
    indptr = np.zeros(n + 1, np.int64)
    np.cumsum(np.bincount(inviter, minlength=n), out=indptr[1:])
    return indptr, came[order]


def _emptied(indptr: Int64s, stays: Bools) -> Int64s:
    counts = np.where(stays, np.diff(indptr), 0)
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
