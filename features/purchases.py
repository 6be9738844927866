"""One customer's purchases as ranking features look at them: distinct (item, basket) lines, and the baskets."""

from dataclasses import dataclass

import numpy as np

from features.arrays import Float64s, Int64s
from features.clock import days_before
from features.columns import EventKind
from features.history import History


@dataclass(frozen=True, slots=True)
class Purchases:
    """One customer's distinct (item, basket) lines ascending in (item, basket), and his baskets.

    Attributes
    ----------
    item : int64 [n]
    age : float64 [n]
        Baskets since, 0 for the last.
    days : float64 [n]
        Local days before the question's day, 0 for the day itself.
    basket : int64 [n]
        Row of the next three.
    basket_days, basket_size, basket_age : float64 [b]
        Of each basket, oldest first.
    """

    item: Int64s
    age: Float64s
    days: Float64s
    basket: Int64s
    basket_days: Float64s
    basket_size: Float64s
    basket_age: Float64s

    @property
    def n_baskets(self) -> int:
        """Number of baskets."""
        return len(self.basket_days)


def read_purchases(history: History, moment: int, n_items: int) -> Purchases:
    """Take the purchases of items the release knows out of a history; `moment` is the start of the question's day."""
    bought = history.where(
        (history.kind == EventKind.purchase) & (history.item_idx >= 0) & (history.item_idx < n_items)
    )
    order = np.lexsort((bought.order_idx, bought.item_idx))
    item, basket = bought.item_idx[order].astype(np.int64), bought.order_idx[order].astype(np.int64)
    first = np.ones(len(item), np.bool_)
    first[1:] = (item[1:] != item[:-1]) | (basket[1:] != basket[:-1])
    item, basket = item[first], basket[first]
    days = days_before(bought.at[order][first], moment).astype(np.float64)
    numbers, row = np.unique(basket, return_inverse=True)
    size = np.bincount(row, minlength=len(numbers)).astype(np.float64)
    basket_days = np.zeros(len(numbers))
    basket_days[row] = days
    age = np.arange(len(numbers) - 1, -1, -1, dtype=np.float64)
    return Purchases(item, age[row], days, row, basket_days, size, age)
