"""Which parts make the best bundle: a small optimization, solved exactly.

Among at most `MOST_FREE` candidates and four free places there are fewer than 18,000 sets (five places, where nothing
is fixed: 84,000). All of them are looked at in a handful of array operations, a millisecond or a few: what is answered
is the best set there is, and when none is answered none keeps the limits. A search that drops sets on the way (a beam)
would have to guess which cheap pair becomes the right four at the till.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import comb
from typing import Final

import numpy as np

from features.arrays import Bools, Float64s, Int64s

MOST_FREE: Final = 26
STEP: Final = 0.05
CENT: Final = 1e-9  # of the comparison of prices that are rounded to cents


@dataclass(frozen=True, eq=False, slots=True)
class Choice:
    """What there is to choose from; the first `n_fixed` are parts of every set.

    Attributes
    ----------
    price, cost : float64 [n]
        In the shop's currency, NaN where unknown.
    pull : float64 [n]
        How strongly the start calls for each, 0 … 1.
    between : float64 [n, n]
        How strongly the candidates call for each other, 0 … 1, symmetric.
    alike : bool [n, n]
        Which must not stand in one set, symmetric.
    role : int64 [n]
        Bits of the roles that each fills.
    """

    price: Float64s
    cost: Float64s
    pull: Float64s
    between: Float64s
    alike: Bools
    role: Int64s
    n_fixed: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """What every set must keep.

    Attributes
    ----------
    size_min, size_max : int
        Parts, fixed ones among them.
    target_price : float or None
        The set costs no more, and near to it is better.
    reach : float or None
        The set costs as much at least, and little above it is better (what is still missing to a spend threshold).
    discount : float
        Share of the parts' prices that is taken off.
    margin_floor : float or None
        Least share of the price that remains above the parts' costs.
    roles : int
        Bits of the roles that must be filled.
    step : float
        Sets whose prices lie within this share of the aim of each other are equally near to it.
    least_pull : float
        A further part must be worth this much to be better than none.
    together : float
        What the parts' pull on each other counts beside the start's.
    """

    size_min: int = 2
    size_max: int = 3
    target_price: float | None = None
    reach: float | None = None
    discount: float = 0.0
    margin_floor: float | None = None
    roles: int = 0
    step: float = STEP
    least_pull: float = 0.5
    together: float = 0.5


@dataclass(frozen=True, slots=True)
class Assembled:
    """One set that keeps the limits: members ascending, the worth of its parts, steps from the aim."""

    members: tuple[int, ...]
    worth: float
    distance: int


def assemble(choice: Choice, limits: Limits, n_best: int) -> list[Assembled]:
    """Return the best sets: nearest to the aim first, then of the greatest worth, then fewer and earlier members."""
    n_free = len(choice.price) - choice.n_fixed
    if n_free > MOST_FREE:
        raise ValueError(f"{n_free} candidates are too many to try all sets; {MOST_FREE} are the most")
    found: list[Assembled] = []
    fewest, most = max(limits.size_min - choice.n_fixed, 0), min(limits.size_max - choice.n_fixed, n_free)
    if not _keeps_apart(choice):
        return found
    for size in range(fewest, most + 1):
        found += _best_of_size(choice, limits, size, n_best)
    found.sort(key=lambda one: (one.distance, -one.worth, len(one.members), one.members))
    return found[:n_best]


def price_of(prices: Float64s, discount: float) -> Float64s:
    """Return what sets of parts [..., size] cost together, to the cent; NaN where a part's price is unknown."""
    cost: Float64s = np.round(np.round(prices, 2).sum(axis=-1) * (1.0 - discount), 2)
    return cost


def margin_of(price: Float64s, cost: Float64s) -> Float64s:
    """Return the share of prices that remains above costs; NaN where either is unknown, -inf for what is free."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(price > 0, (price - cost) / price, -np.inf)
    margin: Float64s = np.where(np.isnan(price) | np.isnan(cost), np.nan, share)
    return margin


def _keeps_apart(choice: Choice) -> bool:
    """Whether the fixed parts may stand together."""
    return not choice.alike[: choice.n_fixed, : choice.n_fixed][np.triu_indices(choice.n_fixed, 1)].any()


def _best_of_size(choice: Choice, limits: Limits, size: int, n_best: int) -> list[Assembled]:
    free = _sets(len(choice.price) - choice.n_fixed, size) + choice.n_fixed
    fixed = np.broadcast_to(np.arange(choice.n_fixed), (len(free), choice.n_fixed))
    members = np.concatenate([fixed, free], axis=1)
    price = price_of(choice.price[members], limits.discount)
    fits = ~_clash(choice, members, free) & _affordable(choice, limits, members, price)
    members, free, price = members[fits], free[fits], price[fits]
    worth, distance = _worth(choice, limits, free), _distance(limits, price)
    order = np.lexsort((*members.T[::-1], -worth, distance))[:n_best]
    return [Assembled(tuple(members[i].tolist()), float(worth[i]), int(distance[i])) for i in order]


@lru_cache(maxsize=256)
def _sets(n: int, size: int) -> Int64s:
    """Return all sets of `size` of n: int64 [n over size, size], in lexical order."""
    every = np.fromiter((i for one in combinations(range(n), size) for i in one), np.int64, comb(n, size) * size)
    every = every.reshape(comb(n, size), size)
    every.setflags(write=False)
    return every


def _clash(choice: Choice, members: Int64s, free: Int64s) -> Bools:
    """Which sets hold two that are alike; fixed ones among themselves are not looked at."""
    clash = np.zeros(len(members), np.bool_)
    for at in range(free.shape[1]):
        for before in range(choice.n_fixed + at):
            clash |= choice.alike[members[:, before], free[:, at]]
    return clash


def _affordable(choice: Choice, limits: Limits, members: Int64s, price: Float64s) -> Bools:
    fits = np.ones(len(members), np.bool_)
    if limits.target_price is not None:
        fits &= price <= limits.target_price + CENT
    if limits.reach is not None:
        fits &= price >= limits.reach - CENT
    if limits.margin_floor is not None:
        fits &= margin_of(price, choice.cost[members].sum(axis=1)) >= limits.margin_floor - CENT
    if limits.roles:
        fits &= (np.bitwise_or.reduce(choice.role[members], axis=1) & limits.roles) == limits.roles
    return fits


def _worth(choice: Choice, limits: Limits, free: Int64s) -> Float64s:
    """Sum over the free parts of the start's pull and their mean pull on each other, less what a part must be worth."""
    n = free.shape[1]
    worth: Float64s = choice.pull[free].sum(axis=1) - n * limits.least_pull
    for a, b in combinations(range(n), 2):
        worth += 2.0 * limits.together * choice.between[free[:, a], free[:, b]] / (n - 1)
    return worth


def _distance(limits: Limits, price: Float64s) -> Int64s:
    """How many steps a price lies from the aim: from above to what must be reached, from below to the target."""
    aim = limits.reach if limits.reach is not None else limits.target_price
    return np.zeros(len(price), np.int64) if aim is None else steps_from(aim, price, limits.step)


def steps_from(aim: float, price: Float64s, step: float) -> Int64s:
    """Return how many steps, shares of the aim, prices lie away from it: int64 [n]; all 0 for an aim of nothing."""
    if aim <= 0:
        return np.zeros(len(price), np.int64)
    steps: Int64s = np.floor(np.abs(price - aim) / (step * aim) + CENT).astype(np.int64)
    return steps
