"""Ranking features of an item's kind: its category, brand, price and promotion against what the customer is like.

Part of `features.definitions`; the same rules hold.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

from features.arrays import Float32s, Float64s, Int32s
from features.item_facts import ItemFacts
from features.purchases import Purchases

AFFINITIES: Final = (
    "category_decayed", "category_share", "category_since", "category_own_rebuy", "brand_share", "price_to_usual",
    "price_lately", "member_discount", "attribute_lift",
)  # fmt: skip
FADE: Final = 0.95  # of a purchase one basket older


def affinity_features(
    item_idx: Int32s, bought: Purchases, attributes: Mapping[str, str], facts: ItemFacts
) -> dict[str, Float64s]:
    """How each item stands to the customer: float64 [n] by name, NaN where either side is unknown.

    `category_own_rebuy`: share of the customer's items of the category that he bought again; `price_lately`: log of
    what the shop took for it lately over its usual price, below 0 on promotion; `member_discount`: share of the price
    that members are spared; `attribute_lift`: see `KindFacts.attribute_lift`, mean over the customer's values.
    """
    kinds = facts.kinds
    price = facts.price[item_idx].astype(np.float64)
    return _category_features(item_idx, bought, facts) | {
        "brand_share": _shares(kinds.brand, item_idx, bought),
        "price_to_usual": np.log(np.maximum(price, 0.01) / _usual_price(bought, facts.price)),
        "price_lately": np.log(np.maximum(kinds.price_lately[item_idx].astype(np.float64), 0.01))
        - np.log(np.maximum(price, 0.01)),
        "member_discount": kinds.member_discount[item_idx].astype(np.float64),
        "attribute_lift": _attribute_lift(item_idx, attributes, facts),
    }


def _category_features(item_idx: Int32s, bought: Purchases, facts: ItemFacts) -> dict[str, Float64s]:
    category = facts.category[item_idx]
    own = facts.category[bought.item]
    n_codes = int(max(category.max(initial=-1), own.max(initial=-1))) + 1
    known = own >= 0
    fade = FADE ** bought.age[known]
    decayed = np.bincount(own[known], fade, n_codes + 1)
    since = np.full(n_codes + 1, np.nan)
    # Lines ascend in basket within an item only: the smallest age of a category needs the minimum, NaN left out.
    np.fmin.at(since, own[known], bought.age[known] + 1.0)
    start = np.flatnonzero(np.diff(bought.item, prepend=-1) != 0)
    count = np.diff(np.append(start, len(bought.item)))
    first = known[start]
    tried = np.bincount(own[start][first], minlength=n_codes + 1)
    again = np.bincount(own[start][first], (count[first] > 1).astype(np.float64), n_codes + 1)
    has = category >= 0
    return {
        "category_decayed": np.where(has, decayed[category], np.nan),
        "category_share": np.where(has, decayed[category] / max(float(fade.sum()), 1e-12), np.nan),
        "category_since": np.where(has, since[category], np.nan),
        "category_own_rebuy": np.where(
            has & (tried[category] > 0), again[category] / np.maximum(tried[category], 1), np.nan
        ),
    }


def _shares(codes: Int32s, item_idx: Int32s, bought: Purchases) -> Float64s:
    """Share of each item's group in the customer's decayed purchases of known groups."""
    group, own = codes[item_idx], codes[bought.item]
    known = own >= 0
    fade = FADE ** bought.age[known]
    decayed = np.bincount(own[known], fade, int(max(group.max(initial=-1), own.max(initial=-1))) + 2)
    return np.where(group >= 0, decayed[group] / max(float(fade.sum()), 1e-12), np.nan)


def _usual_price(bought: Purchases, price: Float32s) -> float:
    """Geometric mean of the prices of what was bought, NaN where none is known."""
    level = price[bought.item]
    level = level[~np.isnan(level)]
    return float(np.exp(np.log(np.maximum(level, 0.01)).mean())) if len(level) else float("nan")


def _attribute_lift(item_idx: Int32s, attributes: Mapping[str, str], facts: ItemFacts) -> Float64s:
    lifts = facts.kinds.lifts_of(attributes, item_idx)
    if not len(lifts):
        return np.full(len(item_idx), np.nan)
    mean: Float64s = lifts.mean(axis=0)
    return mean
