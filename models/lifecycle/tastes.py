"""Tastes: the categories and brands that a customer chooses more than others do, and how much more."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from features.arrays import Float64s, Int32s, Int64s
from features.history import DAY_US, Histories
from models.lifecycle.config import LifecycleConfig
from models.lifecycle.goods import taste_weights

LEAST_WEIGHT: Final = 2.0  # purchases' worth, not faded: one purchase makes no favourite


@dataclass(frozen=True, slots=True)
class Taste:
    """A kind that a customer is fond of.

    Attributes
    ----------
    share : float
        Its share in what he buys and looks at, shrunk towards the shop's.
    strength : float
        That share over the shop's: above 1.
    """

    name: str
    share: float
    strength: float


@dataclass(frozen=True, eq=False, slots=True)
class Kinds:
    """Kinds of products: the code of each product (-1: none), their names, and the shop's share of each."""

    code: Int32s
    names: tuple[str, ...]
    share: Float64s


def favourites(products: Histories, kinds: Kinds, config: LifecycleConfig, at: int) -> list[tuple[Taste, ...]]:
    """Return the favourites of each customer, the most telling first: by share times logarithm of strength."""
    n, n_kinds = products.n_customers, max(len(kinds.names), 1)
    code = np.append(kinds.code, -1)[np.minimum(products.item_idx, len(kinds.code))]
    weight = taste_weights(products.kind)
    known = (code >= 0) & (weight > 0)
    who, code, weight = products.customer_idx[known].astype(np.int64), code[known].astype(np.int64), weight[known]
    age_days = (at - products.at[known]) // DAY_US
    faded = weight * np.exp2(-age_days / config.taste_half_life_days)
    pairs, place = np.unique(who * n_kinds + code, return_inverse=True)
    own, told = np.bincount(place, faded, len(pairs)), np.bincount(place, weight, len(pairs))
    total = np.bincount(who, faded, n)
    usual = kinds.share[pairs % n_kinds] if len(pairs) else np.empty(0)
    share = (own + config.taste_prior * usual) / (total[pairs // n_kinds] + config.taste_prior)
    strength = share / np.maximum(usual, 1e-12)
    keep = (told >= LEAST_WEIGHT) & (strength > 1)
    return _first_of_each(pairs[keep], share[keep], strength[keep], kinds, n, config.max_favourites)


def _first_of_each(
    pairs: Int64s, share: Float64s, strength: Float64s, kinds: Kinds, n: int, limit: int
) -> list[tuple[Taste, ...]]:
    n_kinds = max(len(kinds.names), 1)
    order = np.lexsort((pairs, -share * np.log(strength), pairs // n_kinds))
    found: list[list[Taste]] = [[] for _ in range(n)]
    for place in order.tolist():
        mine = found[int(pairs[place]) // n_kinds]
        if len(mine) < limit:
            name = kinds.names[int(pairs[place]) % n_kinds]
            mine.append(Taste(name, float(share[place]), float(strength[place])))
    return [tuple(mine) for mine in found]
