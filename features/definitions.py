"""Ranking features: NumPy functions of (history, candidates, moment), used by training and service alike (DESIGN §2).

Every function sees one customer's purchases strictly before the moment of the question and the tables of `ItemFacts`;
sums run in the order of the arrays, so both sides are equal to the last bit. Ages are counted in baskets (the last one
has age 0) and in local days (days before the question's day).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import numpy as np

from features.affinities import AFFINITIES, affinity_features
from features.arrays import Bools, Float32s, Float64s, Int32s, Int64s
from features.history import History
from features.item_facts import SINCE_BINS, ItemFacts
from features.purchases import Purchases, read_purchases

BASKET_DECAYS: Final = (0.5, 0.7, 0.85, 0.95)  # weight of a basket one older
HALF_LIVES_DAYS: Final = (10, 30, 90)
WINDOWS_DAYS: Final = (3, 7, 14, 28, 84)
OWN_GAP_PRIOR: Final = 2.0  # gaps' worth of the item's own mean gap
SMALL_BASKET: Final = 3
NO_ATTRIBUTES: Final[Mapping[str, str]] = MappingProxyType({})


def _sums(values: Float64s, start: Int64s) -> Float64s:
    """Sum each run that begins at `start`."""
    sums: Float64s = np.add.reduceat(values, start)
    return sums


def own_item_features(bought: Purchases, facts: ItemFacts) -> tuple[Int64s, dict[str, Float64s]]:
    """Return the customer's own items (int64 [m], ascending) and, for each, what his purchases of it say (float64 [m]).

    Counts, decayed counts, rates since the first purchase, gaps, due-ness (log of the time waited over the gap to
    expect, the customer's own gaps shrunk to the item's), the item's hazard at this age, and counts weighted by how
    much each basket resembles the coming one: in the gap before it, in weekday, in being small.
    """
    start = np.flatnonzero(np.diff(bought.item, prepend=-1) != 0)
    if not len(start):
        return np.empty(0, np.int64), {name: np.empty(0) for name in OWN_ITEM}
    items = bought.item[start]
    count = np.diff(np.append(start, len(bought.item)))
    last = start + count - 1
    since, waited = bought.age[last] + 1.0, bought.days[last]
    many = count > 1
    gap = np.where(many, (bought.age[start] - bought.age[last]) / np.maximum(count - 1, 1), np.nan)
    gap_days = np.where(many, (bought.days[start] - bought.days[last]) / np.maximum(count - 1, 1), np.nan)
    found: dict[str, Float64s] = {"count": count.astype(np.float64)}
    found |= {f"decayed_{decay}": _sums(decay**bought.age, start) for decay in BASKET_DECAYS}
    found |= {f"half_life_{days}d": _sums(0.5 ** (bought.days / days), start) for days in HALF_LIVES_DAYS}
    found |= {
        "baskets_since": since, "days_since": waited,
        "baskets_since_first": bought.age[start] + 1.0, "days_since_first": bought.days[start],
        "rate": count / (bought.age[start] + 1.0), "gap_baskets": gap, "gap_days": gap_days,
        "last_gap": np.where(many, bought.age[np.maximum(last - 1, 0)] - bought.age[last], np.nan),
        "due_baskets": np.log(since) - _expected(gap, count, facts.log_gap_baskets[items]),
        "due_days": np.log(np.maximum(waited, 0.5)) - _expected(gap_days, count, facts.log_gap_days[items]),
        "hazard": facts.hazard[items, np.searchsorted(SINCE_BINS, since, "right") - 1].astype(np.float64),
        "in_last_3": _sums((bought.age < 3).astype(np.float64), start),
        "in_last_10": _sums((bought.age < 10).astype(np.float64), start),
    }  # fmt: skip
    found |= {name: _sums(weight[bought.basket], start) for name, weight in basket_kernels(bought).items()}
    return items, found


OWN_ITEM: Final = (
    "count", *(f"decayed_{d}" for d in BASKET_DECAYS), *(f"half_life_{d}d" for d in HALF_LIVES_DAYS),
    "baskets_since", "days_since", "baskets_since_first", "days_since_first", "rate", "gap_baskets", "gap_days",
    "last_gap", "due_baskets", "due_days", "hazard", "in_last_3", "in_last_10",
    "like_gap", "like_weekday", "like_small",
)  # fmt: skip
# What an item never bought by the customer has none of; of the rest nothing is known.
_NONE_OF: Final = frozenset(
    {"count", "rate", "hazard", "in_last_3", "in_last_10", "like_gap", "like_weekday", "like_small"}
    | {f"decayed_{d}" for d in BASKET_DECAYS} | {f"half_life_{d}d" for d in HALF_LIVES_DAYS}
)  # fmt: skip


def _expected(gap: Float64s, count: Int64s, prior: Float32s) -> Float64s:
    """Mean logarithm of the gap to expect: the customer's own mean gap, shrunk to the item's."""
    own = np.where(count > 1, np.log(np.maximum(np.nan_to_num(gap, nan=1.0), 0.5)), 0.0) * (count - 1)
    mean: Float64s = (own + OWN_GAP_PRIOR * prior) / (count - 1 + OWN_GAP_PRIOR)
    return mean


def basket_kernels(bought: Purchases) -> dict[str, Float64s]:
    """How much each basket resembles the one to come, each kernel summing to 1 over the baskets: float64 [b].

    `like_gap`: the days that had passed before it, against those that have passed now; `like_weekday`: the same day of
    the week; `like_small`: small ones first. All fade by 3 % a basket.
    """
    fade = 0.97**bought.basket_age
    before = np.full(bought.n_baskets, np.nan)
    before[1:] = bought.basket_days[:-1] - bought.basket_days[1:]
    now = float(bought.basket_days[-1]) if bought.n_baskets else 0.0
    near = np.exp(-np.abs(np.log1p(before) - np.log1p(now)) / 0.5)
    kernels = {
        "like_gap": np.where(np.isnan(near), 0.3, near) * fade,
        "like_weekday": np.where(bought.basket_days % 7 == 0, 1.0, 0.1) * fade,
        "like_small": fade / np.maximum(bought.basket_size, 1),
    }
    return {name: weight / max(float(weight.sum()), 1e-12) for name, weight in kernels.items()}


def customer_features(bought: Purchases, facts: ItemFacts, moment: int) -> dict[str, float]:
    """What is known of the customer whatever the item: rhythm, size of the coming basket, love of the new."""
    n = bought.n_baskets
    names, counts = np.unique(bought.item, return_counts=True)
    if not n:
        return dict.fromkeys(CUSTOMER, float("nan")) | {"n_baskets": 0.0, "weekday": float(facts.day_of(moment) % 7)}
    size = bought.basket_size
    kernels = basket_kernels(bought)
    recent = 0.7**bought.basket_age
    fade = 0.97**bought.basket_age
    mean_gap = float(bought.basket_days[0] - bought.basket_days[-1]) / max(n - 1, 1)
    waited = float(bought.basket_days[-1])
    return {
        "n_baskets": float(n), "mean_size": float(size.mean()), "last_size": float(size[-1]),
        "recent_size": float((recent * size).sum() / recent.sum()),
        "size_like_gap": float((kernels["like_gap"] * size).sum()),
        "size_like_weekday": float((kernels["like_weekday"] * size).sum()),
        "log_size": float((fade * np.log(size)).sum() / fade.sum()),
        "share_small": float((fade * (size <= SMALL_BASKET)).sum() / fade.sum()),
        "days_since_last": waited, "mean_gap": mean_gap, "overdue": waited / max(mean_gap, 0.5),
        "rebuy_share": float((counts > 1).mean()), "new_share": len(names) / len(bought.item),
        "n_own_items": float(len(names)), "weekday": float(facts.day_of(moment) % 7),
    }  # fmt: skip


CUSTOMER: Final = (
    "n_baskets", "mean_size", "last_size", "recent_size", "size_like_gap", "size_like_weekday", "log_size",
    "share_small", "days_since_last", "mean_gap", "overdue", "rebuy_share", "new_share", "n_own_items", "weekday",
)  # fmt: skip


def item_features(item_idx: Int32s, facts: ItemFacts, moment: int) -> dict[str, Float64s]:
    """What is known of each item whoever asks: its repurchase, its price, how popular it was lately and before."""
    day = facts.day_of(moment)
    edges = np.array([day, *(day - w for w in WINDOWS_DAYS)], np.int64)
    counts, totals = facts.bought_before(item_idx, edges), facts.all_before(edges)
    share = {
        w: (counts[0] - counts[1 + n]) / max(int(totals[0] - totals[1 + n]), 1) * 1e4
        for n, w in enumerate(WINDOWS_DAYS)
    }  # fmt: skip
    found: dict[str, Float64s] = {f"popular_{w}d": share[w] for w in WINDOWS_DAYS}
    baskets = facts.baskets[item_idx].astype(np.float64)
    return found | {
        "trend": np.log((share[14] + 0.5) / (share[84] + 0.5)),
        "trend_short": np.log((share[3] + 0.5) / (share[28] + 0.5)),
        "log_baskets": np.log1p(baskets), "baskets_per_buyer": baskets / np.maximum(facts.buyers[item_idx], 1.0),
        "rebuy_rate": facts.rebuy_rate[item_idx].astype(np.float64),
        "item_gap_days": facts.log_gap_days[item_idx].astype(np.float64),
        "item_gap_baskets": facts.log_gap_baskets[item_idx].astype(np.float64),
        "hazard_next": facts.hazard[item_idx, 0].astype(np.float64),
        "category_rebuy_rate": facts.kinds.category_rebuy_rate[item_idx].astype(np.float64),
        "inverse_size": facts.inverse_size[item_idx].astype(np.float64),
    }  # fmt: skip


ITEM: Final = (
    *(f"popular_{w}d" for w in WINDOWS_DAYS), "trend", "trend_short", "log_baskets", "baskets_per_buyer", "rebuy_rate",
    "item_gap_days", "item_gap_baskets", "hazard_next", "category_rebuy_rate", "inverse_size",
)  # fmt: skip


FEATURES: Final = (
    *OWN_ITEM, "share_of_baskets", "share_of_own", *AFFINITIES, *ITEM, *(f"customer_{n}" for n in CUSTOMER),
)  # fmt: skip


def feature_matrix(
    history: History, item_idx: Int32s, moment: int, facts: ItemFacts, attributes: Mapping[str, str] = NO_ATTRIBUTES
) -> Float32s:
    """Return the features of some items for one customer: float32 [n, len(FEATURES)], NaN where nothing is known."""
    bought = read_purchases(history, moment, facts.n_items)
    items, own = own_item_features(bought, facts)
    place, is_own = _places(items, item_idx)
    columns: dict[str, Float64s | float] = {}
    for name in OWN_ITEM:
        columns[name] = np.where(is_own, own[name][place] if len(items) else 0.0, 0.0 if name in _NONE_OF else np.nan)
    n_baskets, all_own = max(bought.n_baskets, 1), float(own["decayed_0.85"].sum())
    columns["share_of_baskets"] = columns["count"] / n_baskets
    columns["share_of_own"] = columns["decayed_0.85"] / max(all_own, 1e-12)
    columns |= affinity_features(item_idx, bought, attributes, facts) | item_features(item_idx, facts, moment)
    columns |= {f"customer_{name}": value for name, value in customer_features(bought, facts, moment).items()}
    matrix = np.empty((len(item_idx), len(FEATURES)), np.float32)
    for column, name in enumerate(FEATURES):
        matrix[:, column] = columns[name]
    return matrix


def _places(items: Int64s, item_idx: Int32s) -> tuple[Int64s, Bools]:
    """Where each candidate stands among the customer's own items, and whether it does."""
    if not len(items):
        return np.zeros(len(item_idx), np.int64), np.zeros(len(item_idx), np.bool_)
    place = np.minimum(np.searchsorted(items, item_idx), len(items) - 1)
    return place, items[place] == item_idx
