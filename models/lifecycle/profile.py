"""`Profile`: what a shop may know of one customer at a moment (PRODUCT.md, K1, K2), by one pure function.

Service, batch and lake call `profiles_of` with the same lives, so they say the same of the same customer, bit for bit:
every sum runs over one customer's own events in the order of time, whoever else is asked at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from features.arrays import Float64s, Int64s
from features.history import DAY_US
from models.lifecycle.acts import (
    EVENING,
    WEEKEND,
    ActiveHour,
    Acts,
    ChannelUse,
    active_hours,
    channel_use,
    count_hours,
    measure_acts,
    share_of_hours,
)  # fmt: skip
from models.lifecycle.facts import Case, Facts
from models.lifecycle.life import About, Lives
from models.lifecycle.model import LifecycleModel
from models.lifecycle.money import Money, measure_money
from models.lifecycle.rhythm import Rhythms, measure_rhythms
from models.lifecycle.rules import LAYER_RULES, STAGE_RULES, judged
from models.lifecycle.tags import Tag, derived_tags
from models.lifecycle.tastes import Kinds, Taste, favourites
from models.reasons import Reason

NEAR_DAYS: Final = 30.0
FAR_DAYS: Final = 90.0


@dataclass(frozen=True, slots=True)
class Profile:
    """One customer at a moment; what cannot be known is None, what there is none of is empty.

    Attributes
    ----------
    at : int
        UTC µs; only what lies strictly before was seen.
    stage, layer : str
        See `models.lifecycle.rules`, each with its reason.
    recency_days, typical_gap_days, age_days : int, float, int or None
        Days since the last purchase, usual days between two, days since the first.
    purchase_days, baskets, lines : int
        Frequency.
    spend, year_spend, margin : float or None
        Less refunds; None without any known price. `margin_share` is the share of the spend whose cost is known.
    basket_value : float or None
        Mean spend of a purchase day, shrunk towards the shop's.
    p_alive, expected_30, expected_90 : float or None
        BG/NBD; expected purchase days; None for who never bought.
    expected_spend_90 : float or None
    price_level : float or None
        Prices paid over those of the same categories: 1 is like everybody.
    discount_share : float or None
        Share of lines below the usual price, shrunk towards the shop's.
    about : About
        What the shop told: attributes, tags, groups, advisor, inviter.
    notes : tuple of str
        What it cannot say, and why.
    """

    at: int
    stage: str
    stage_reason: Reason
    layer: str
    layer_reason: Reason
    purchase_days: int
    baskets: int
    lines: int
    recency_days: int | None
    age_days: int | None
    typical_gap_days: float | None
    spend: float | None
    year_spend: float | None
    margin: float | None
    margin_share: float | None
    basket_value: float | None
    p_alive: float | None
    expected_30: float | None
    expected_90: float | None
    expected_spend_90: float | None
    price_level: float | None
    discount_share: float | None
    categories: tuple[Taste, ...]
    brands: tuple[Taste, ...]
    hours: tuple[ActiveHour, ...]
    channels: tuple[ChannelUse, ...]
    n_invited: int
    derived: tuple[Tag, ...]
    about: About
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, slots=True)
class _Measured:
    """Everything measured of some lives, by customer."""

    rhythms: Rhythms
    money: Money
    acts: Acts
    gap: Float64s
    p_alive: Float64s
    near: Float64s
    far: Float64s
    value: Float64s
    worth: Float64s
    categories: list[tuple[Taste, ...]]
    brands: list[tuple[Taste, ...]]
    hours: list[tuple[ActiveHour, ...]]
    evening: Float64s
    weekend: Float64s
    channels: list[tuple[ChannelUse, ...]]
    last_day: Int64s


def profiles_of(model: LifecycleModel, lives: Lives, at: int) -> Iterator[Profile]:
    """Yield the profile of each life at a moment (UTC µs) that nothing in it reaches, in order.

    Cost: some milliseconds for one customer, about .5 ms each among many.
    """
    found, today = _measure(model, lives, at), model.day_of(at)
    for who in range(len(lives)):
        facts = _facts(found, lives, who, today)
        yield _profile(model, found, lives.lives[who].about, Case(facts, model.thresholds, model.config), who, at)


def _measure(model: LifecycleModel, lives: Lives, at: int) -> _Measured:
    config, goods, today = model.config, model.goods, model.day_of(at)
    products = lives.products
    rhythms = measure_rhythms(products.purchases, model.phase, today)
    money = measure_money(products, lives.told, goods, config, at)
    acts, hours = measure_acts(lives, at), count_hours(lives, model.timezone)
    has_bought = rhythms.n_days > 0
    far = model.expected(FAR_DAYS, rhythms, today)
    worth = model.basket.of(money.spend, rhythms.n_days)
    return _Measured(
        rhythms, money, acts, rhythms.typical_gap(model.thresholds.silence.gap_days, config.gap_prior),
        np.where(has_bought, model.rhythm.p_alive(rhythms.customers(today)), 0.0),
        model.expected(NEAR_DAYS, rhythms, today), far, far if model.thresholds.in_purchases else far * worth, worth,
        favourites(products, Kinds(goods.category, goods.categories, goods.category_share), config, at),
        favourites(products, Kinds(goods.brand, goods.brands, goods.brand_share), config, at),
        active_hours(hours, config.max_favourites), share_of_hours(hours, EVENING), share_of_hours(hours, WEEKEND),
        channel_use(lives, model.trails.channels, config.max_favourites),
        np.where(acts.last_act_at >= 0, (acts.last_act_at - model.phase) // DAY_US, -1),
    )  # fmt: skip


def _facts(found: _Measured, lives: Lives, who: int, today: int) -> Facts:
    rhythms, money, acts, life = found.rhythms, found.money, found.acts, lives.lives[who]
    n_days = int(rhythms.n_days[who])
    return Facts(
        n_days, int(rhythms.year_days[who]), today - int(rhythms.last_day[who]) if n_days else None,
        today - int(rhythms.first_day[who]) if n_days else None,
        today - int(found.last_day[who]) if acts.n_acts[who] else None, float(found.gap[who]),
        float(found.p_alive[who]), float(found.value[who]), int(money.baskets[who]), int(money.lines[who]),
        int(money.discounted[who]), _known(money.price_level[who]), int(acts.n_acts[who]), int(acts.n_strong[who]),
        int(acts.n_contacts[who]), int(acts.year_praise[who]), life.n_invited, life.about.is_known,
        bool(acts.has_unsubscribed[who]), bool(acts.has_left_groups[who]), float(found.evening[who]),
        float(found.weekend[who]), len(found.channels[who]),
    )  # fmt: skip


def _profile(model: LifecycleModel, found: _Measured, about: About, case: Case, who: int, at: int) -> Profile:
    facts, money = case.facts, found.money
    stage, layer = judged(STAGE_RULES, case), judged(LAYER_RULES, case)
    has_bought, has_price = facts.n_days > 0, bool(money.priced_lines[who])
    costed, spend = float(money.costed_spend[who]), float(money.spend[who])
    is_worth = has_bought and not model.thresholds.in_purchases
    return Profile(
        at, *stage, *layer, facts.n_days, facts.baskets, facts.lines, facts.since_days, facts.first_days,
        facts.gap_days if has_bought else None, spend if has_price else None,
        float(money.year_spend[who]) if has_price else None, float(money.margin[who]) if costed > 0 else None,
        min(costed / spend, 1.0) if costed > 0 and spend > 0 else None, float(found.worth[who]) if is_worth else None,
        facts.p_alive if has_bought else None, float(found.near[who]) if has_bought else None,
        float(found.far[who]) if has_bought else None, facts.value_90 if is_worth else None, facts.price_level,
        facts.discount_share(model.thresholds.discount_rate, model.config.price_prior) if facts.lines else None,
        found.categories[who], found.brands[who], found.hours[who], found.channels[who], facts.n_invited,
        derived_tags(case), about, tuple(_notes(model, case, found, who)),
    )  # fmt: skip


def _notes(model: LifecycleModel, case: Case, found: _Measured, who: int) -> Iterator[str]:
    """Say what the numbers stand on where it is less than it should be."""
    if not case.facts.n_days:
        return
    if not case.shop.silence.is_learned:
        yield "thresholds of silence are standard values: the shop has too few repeat purchases to learn its own"
    if model.rhythm_with_prior:
        yield "expected purchases lean on a prior: too few customers of the shop have come back yet"
    if not found.money.priced_lines[who]:
        yield "spend is unknown: neither the purchases nor their products have a price"
    elif found.money.priced_lines[who] < found.money.lines[who]:
        yield "spend leaves out purchases without a price"


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
