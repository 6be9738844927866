"""Acts: what customers did of their own accord, when in the week, and by which channel."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from features.arrays import AnyArray, Bools, Float64s, Int64s
from features.clock import HOUR_US, hours_of_week, is_timezone
from features.columns import EventKind
from features.history import DAY_US
from models.lifecycle.life import Lives
from models.lifecycle.rhythm import YEAR_DAYS

OWN_ACTS: Final = (
    EventKind.view, EventKind.click, EventKind.cart, EventKind.purchase, EventKind.favorite, EventKind.share,
    EventKind.review, EventKind.dislike, EventKind.open, EventKind.join_group,
)  # fmt: skip
STRONG_ACTS: Final = (EventKind.cart, EventKind.favorite)
CONTACTS: Final = (EventKind.impression, EventKind.sent, EventKind.delivered)
PRAISE: Final = (EventKind.share, EventKind.review)
WEEK_HOURS: Final = 168
EVENING: Final[Bools] = np.isin(np.arange(WEEK_HOURS) % 24, (20, 21, 22, 23, 0, 1))
WEEKEND: Final[Bools] = np.arange(WEEK_HOURS) >= 5 * 24


@dataclass(frozen=True, slots=True)
class ActiveHour:
    """An hour of the week (0: Monday from 0 h) in the customer's zone, and the share of his active hours around it."""

    hour: int
    share: float


@dataclass(frozen=True, slots=True)
class ChannelUse:
    """A channel, and the share of a customer's events that came by it, each counted once an hour."""

    channel: str
    share: float
    last_at: int


@dataclass(frozen=True, eq=False, slots=True)
class Acts:
    """Counts over everything that some customers did, whatever it was about; every array is [n_customers].

    Attributes
    ----------
    n_acts, n_strong, n_contacts, year_praise : int64
        Own acts; carts and favorites; messages and impressions; shares and reviews within 365 days.
    last_act_at : int64
        UTC µs of the last own act, -1 where there is none.
    has_unsubscribed, has_left_groups : bool
        Whether the last word on messages was to stop them; whether more groups were left than joined.
    """

    n_acts: Int64s
    n_strong: Int64s
    n_contacts: Int64s
    year_praise: Int64s
    last_act_at: Int64s
    has_unsubscribed: Bools
    has_left_groups: Bools


def measure_acts(lives: Lives, at: int) -> Acts:
    """Count."""
    customer, moments, kind = lives.every_act
    n = len(lives)

    def count(*kinds: EventKind, since: int = -(2**62)) -> Int64s:
        return np.bincount(customer[np.isin(kind, kinds) & (moments >= since)], minlength=n)

    own = np.isin(kind, OWN_ACTS)
    last = np.full(n, -1, np.int64)
    np.maximum.at(last, customer[own], moments[own])
    stopped = np.full(n, -1, np.int64)
    np.maximum.at(stopped, customer[kind == EventKind.unsubscribe], moments[kind == EventKind.unsubscribe])
    return Acts(
        count(*OWN_ACTS), count(*STRONG_ACTS), count(*CONTACTS), count(*PRAISE, since=at - YEAR_DAYS * DAY_US), last,
        (stopped >= 0) & (stopped >= last), count(EventKind.leave_group) > count(EventKind.join_group),
    )  # fmt: skip


def count_hours(lives: Lives, timezone: str) -> Int64s:
    """Count active hours by hour of the week: int64 [n_customers, 168].

    An hour in which a customer did anything counts once, however much he did. A customer without a time zone, or with
    one that does not exist, lives by the shop's `timezone`.
    """
    customer, moments, kind = lives.every_act
    own = np.isin(kind, OWN_ACTS)
    customer, moments = _once_an_hour(customer[own], moments[own])
    told = [one.about.timezone for one in lives.lives]
    zones = [zone if zone and is_timezone(zone) else timezone for zone in told]
    hour = np.zeros(len(moments), np.int64)
    for zone in sorted(set(zones)):
        here = np.array([z == zone for z in zones], np.bool_)[customer]
        hour[here] = hours_of_week(moments[here], zone)
    return np.bincount(customer * WEEK_HOURS + hour, minlength=len(lives) * WEEK_HOURS).reshape(-1, WEEK_HOURS)


def active_hours(counts: Int64s, limit: int) -> list[tuple[ActiveHour, ...]]:
    """Return the hours of the week in which each customer is most active, most active first, ties by hour.

    Half of an hour is spread over the hours beside it: who comes at nine comes at ten, too.
    """
    smooth = counts / 2 + (np.roll(counts, 1, axis=1) + np.roll(counts, -1, axis=1)) / 4
    share = smooth / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    best = np.argsort(-share, axis=1, kind="stable")[:, :limit]
    return [
        tuple(ActiveHour(int(h), float(share[who, h])) for h in best[who] if counts[who, h] > 0)
        for who in range(len(counts))
    ]  # fmt: skip


def share_of_hours(counts: Int64s, hours: Bools) -> Float64s:
    """Share of each customer's active hours that lie in some hours of the week (bool [168]): float64 [n]."""
    share: Float64s = counts[:, hours].sum(axis=1) / np.maximum(counts.sum(axis=1), 1)
    return share


def _once_an_hour(customer: Int64s, moments: Int64s, *more: AnyArray) -> tuple[AnyArray, ...]:
    """Keep the first event of each customer's hour (rows ascend in customer and time; `more` splits hours further)."""
    keys = (customer, moments // HOUR_US, *more)
    order = np.lexsort(keys[::-1])
    first = np.ones(len(order), np.bool_)
    first[1:] = np.logical_or.reduce([key[order][1:] != key[order][:-1] for key in keys])
    keep = np.sort(order[first])
    return customer[keep], moments[keep], *(part[keep] for part in more)


def channel_use(lives: Lives, channels: tuple[str, ...], limit: int) -> list[tuple[ChannelUse, ...]]:
    """Return each customer's channels, the most used first, ties by name."""
    named, n = lives.trail.channel >= 0, max(len(channels), 1)
    customer, moments, code = lives.trail_customer[named], lives.trail.at[named], lives.trail.channel[named]
    key = customer * n + code
    last = np.full(len(lives) * n, -1, np.int64)
    np.maximum.at(last, key, moments)
    who, _, by = _once_an_hour(customer, moments, code)
    pairs, counts = np.unique(who * n + by, return_counts=True)
    total = np.bincount(pairs // n, counts, len(lives))
    order = np.lexsort((pairs, -counts, pairs // n))
    found: list[list[ChannelUse]] = [[] for _ in range(len(lives))]
    for pair, times in zip(pairs[order].tolist(), counts[order].tolist(), strict=True):
        mine = found[pair // n]
        if len(mine) < limit:
            mine.append(ChannelUse(channels[pair % n], times / float(total[pair // n]), int(last[pair])))
    return [tuple(mine) for mine in found]
