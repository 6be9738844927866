"""Money: what customers spent, what the shop earned by it, how dear they buy and how much of it on discount."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from features.arrays import Bools, Float64s, Int64s
from features.columns import EventKind
from features.history import DAY_US, Histories
from models.lifecycle.config import LifecycleConfig
from models.lifecycle.goods import Goods
from models.lifecycle.rhythm import YEAR_DAYS

LEAST_PRIOR: Final = 0.5
MOST_PRIOR: Final = 50.0


@dataclass(frozen=True, eq=False, slots=True)
class Money:
    """Sums of some customers; every array is [n_customers].

    Attributes
    ----------
    baskets, lines, priced_lines : int64
        Baskets, purchase lines, and those of them whose price is told or known from the product.
    spend, year_spend : float64
        Price times quantity over those lines, less refunds; ever, and within the last 365 days.
    margin, costed_spend : float64
        Price less cost over the lines of products whose cost is known, and what was spent on them.
    price_level : float64
        Geometric mean of price over the usual price of the product's category, shrunk to 1; NaN without any.
    discounted : int64
        Lines below the usual price, at the members' price, or with a discount told.
    """

    baskets: Int64s
    lines: Int64s
    priced_lines: Int64s
    spend: Float64s
    year_spend: Float64s
    margin: Float64s
    costed_spend: Float64s
    price_level: Float64s
    discounted: Int64s


@dataclass(frozen=True, eq=False, slots=True)
class _Lines:
    """Purchase (or refund) lines: customer, item (last row of padded tables where unknown), price and amount."""

    customer: Int64s
    item: Int64s
    day_at: Int64s
    price: Float64s
    quantity: Float64s

    @property
    def amount(self) -> Float64s:
        return np.where(np.isnan(self.price), 0.0, self.price * self.quantity)


def measure_money(products: Histories, told: Bools, goods: Goods, config: LifecycleConfig, at: int) -> Money:
    """Add up; sums run in the order of time, so a customer's numbers do not depend on who else is asked."""
    n = products.n_customers
    is_bought = products.kind == EventKind.purchase
    bought, back = _lines(products, is_bought, goods), _lines(products, products.kind == EventKind.refund, goods)
    baskets = np.zeros(n, np.int64)
    np.maximum.at(baskets, bought.customer, products.order_idx[is_bought].astype(np.int64) + 1)

    def total(lines: _Lines, values: Float64s) -> Float64s:
        return np.bincount(lines.customer, values, n).astype(np.float64)

    def net(keep_from: int) -> Float64s:
        return total(bought, np.where(bought.day_at >= keep_from, bought.amount, 0.0)) - total(
            back, np.where(back.day_at >= keep_from, back.amount, 0.0)
        )

    cost = _padded(goods.cost)[bought.item]
    costed = ~np.isnan(cost) & ~np.isnan(bought.price)
    earned = np.where(costed, (bought.price - cost) * bought.quantity, 0.0)
    discounted = _discounted(bought, goods, config.below_usual) | told[is_bought]
    return Money(
        baskets, np.bincount(bought.customer, minlength=n),
        np.bincount(bought.customer[~np.isnan(bought.price)], minlength=n), net(0), net(at - YEAR_DAYS * DAY_US),
        total(bought, earned), total(bought, np.where(costed, bought.amount, 0.0)),
        _price_level(bought, goods, config.price_prior, n), np.bincount(bought.customer[discounted], minlength=n),
    )  # fmt: skip


def line_amounts(bought: Histories, goods: Goods) -> tuple[Int64s, Float64s]:
    """Return customer and amount (price times quantity, 0 where no price is known) of some purchase lines."""
    lines = _lines(bought, np.ones(len(bought), np.bool_), goods)
    return lines.customer, lines.amount


def _padded(table: "np.ndarray[tuple[int], np.dtype[np.float32]]") -> Float64s:
    return np.append(table.astype(np.float64), np.nan)


def _lines(products: Histories, keep: Bools, goods: Goods) -> _Lines:
    n_items = len(goods.usual_price)
    item = products.item_idx[keep].astype(np.int64)
    item = np.where((item < 0) | (item >= n_items), n_items, item)
    told = products.price[keep].astype(np.float64)
    price = np.where(np.isnan(told), _padded(goods.usual_price)[item], told)
    customer = products.customer_idx[keep].astype(np.int64)
    return _Lines(customer, item, products.at[keep], price, products.quantity[keep].astype(np.float64))


def _discounted(bought: _Lines, goods: Goods, below_usual: float) -> Bools:
    usual, member = _padded(goods.usual_price)[bought.item], _padded(goods.member_price)[bought.item]
    # Comparisons with NaN are false: what is unknown is no discount. A cent is how prices are rounded.
    found: Bools = (bought.price <= below_usual * usual) | (bought.price <= member + 0.005)
    return found


def _price_level(bought: _Lines, goods: Goods, prior: float, n: int) -> Float64s:
    code = np.append(goods.category, -1)[bought.item]
    level = np.append(goods.category_price, np.nan)[code]
    known = (bought.price > 0) & ~np.isnan(level)
    who = bought.customer[known]
    logs = np.bincount(who, np.log(bought.price[known] / level[known]), n)
    lines = np.bincount(who, minlength=n)
    shrunk: Float64s = np.where(lines > 0, np.exp(logs / (lines + prior)), np.nan)
    return shrunk


@dataclass(frozen=True, slots=True)
class BasketValue:
    """What one purchase day of the shop is worth on average, and how many days of it stand in a customer's own mean."""

    mean: float
    prior: float

    def of(self, spend: Float64s, n_days: Int64s) -> Float64s:
        """Expected spend of a purchase day of each customer: float64 [n], at least 0."""
        shrunk: Float64s = np.maximum((spend + self.prior * self.mean) / (n_days + self.prior), 0.0)
        return shrunk


def learn_basket_value(customer: Int64s, amount: Float64s) -> BasketValue:
    """Learn from the spend of purchase days how much customers differ (Bühlmann and Straub, 1970: credibility).

    The prior is the variance within customers over that between them, kept in [.5, 50].
    """
    if not len(amount):
        return BasketValue(0.0, MOST_PRIOR)
    n_days = np.bincount(customer)
    has = n_days > 0
    mean = np.bincount(customer, amount) / np.maximum(n_days, 1)
    overall, total = float(amount.mean()), len(amount)
    within = float(((amount - mean[customer]) ** 2).sum()) / max(int((n_days[has] - 1).sum()), 1)
    spread = float((n_days[has] * (mean[has] - overall) ** 2).sum()) - (int(has.sum()) - 1) * within
    between = spread / max(total - float((n_days[has] ** 2).sum()) / total, 1.0)
    if between <= 0:
        return BasketValue(overall, MOST_PRIOR)
    return BasketValue(overall, min(max(within / between, LEAST_PRIOR), MOST_PRIOR))
