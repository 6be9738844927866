"""What profiles need to know of products: their kind, what is usually paid for them, and what they cost."""

from dataclasses import dataclass

import numpy as np

from features.arrays import AnyArray, Float32s, Float64s, Int32s
from features.columns import EventKind
from features.dataset import Dataset
from features.history import Histories

# How much an act tells of a taste, in purchases; kinds that are not here tell nothing.
TASTE_WEIGHT = {
    EventKind.purchase: 1.0, EventKind.favorite: 0.5, EventKind.cart: 0.5, EventKind.share: 0.5, EventKind.review: 0.5,
    EventKind.click: 0.2, EventKind.view: 0.2,
}  # fmt: skip
LEAST_SALES = 3  # prices paid that make a usual price; with fewer the catalogue's stands


@dataclass(frozen=True, eq=False)
class Goods:
    """Tables of products and their kinds, as of training; n is the number of products.

    Attributes
    ----------
    category, brand : int32 [n]
        Codes into `categories` and `brands`, -1 where unknown.
    usual_price, member_price, cost : float32 [n]
        Median price paid per unit (the catalogue's where hardly sold), price for members where below the catalogue's,
        and cost; NaN where unknown.
    category_price : float64 [n_categories]
        Geometric mean of the prices paid for lines of the category, NaN where none is known.
    category_share, brand_share : float64 [n_categories], [n_brands]
        Share of each in what all customers do, weighed as `TASTE_WEIGHT`.
    """

    category: Int32s
    categories: tuple[str, ...]
    brand: Int32s
    brands: tuple[str, ...]
    usual_price: Float32s
    member_price: Float32s
    cost: Float32s
    category_price: Float64s
    category_share: Float64s
    brand_share: Float64s


def fit_goods(dataset: Dataset, category_depth: int) -> Goods:
    """Count once over all events of products; cost is one sort of the purchases."""
    products, events = dataset.products, dataset.product_events
    category, categories = products.codes("category", category_depth)
    brand, brands = products.codes("brand")
    listed, member, cost = (_amounts(dataset, name) for name in ("price", "member_price", "cost"))
    bought = events.purchases
    usual = usual_prices(bought, listed)
    paid = np.where(np.isnan(bought.price), usual[bought.item_idx], bought.price) if len(bought) else bought.price
    known = (paid > 0) & (category[bought.item_idx] >= 0)
    code = category[bought.item_idx[known]]
    lines = np.bincount(code, minlength=len(categories))
    logs = np.bincount(code, np.log(paid[known].astype(np.float64)), len(categories))
    level = np.where(lines > 0, np.exp(logs / np.maximum(lines, 1)), np.nan)
    return Goods(
        category, categories, brand, brands, usual, np.where(member < listed, member, np.nan).astype(np.float32), cost,
        level, _shares(events, category, len(categories)), _shares(events, brand, len(brands)),
    )  # fmt: skip


def _amounts(dataset: Dataset, name: str) -> Float32s:
    if name not in dataset.products.frame.columns:
        return np.full(len(dataset.products), np.nan, np.float32)
    return dataset.products.floats(name)


def usual_prices(bought: Histories, listed: Float32s) -> Float32s:
    """Median price paid for each product, or the listed one for those with fewer than `LEAST_SALES`: float32 [n]."""
    priced = bought.price > 0
    item, price = bought.item_idx[priced], bought.price[priced]
    order = np.lexsort((price, item))
    count = np.bincount(item, minlength=len(listed))
    middle = np.cumsum(count) - count + (count - 1) // 2
    usual = listed.copy()
    sold = count >= LEAST_SALES
    usual[sold] = price[order][middle[sold]]
    return usual


def taste_weights(kind: AnyArray) -> Float64s:
    """Return what each event tells of a taste, in purchases: float64 [n]."""
    table = np.zeros(len(EventKind))
    for one, weight in TASTE_WEIGHT.items():
        table[one] = weight
    weights: Float64s = table[kind]
    return weights


def _shares(events: Histories, code: Int32s, n: int) -> Float64s:
    known = code[events.item_idx] >= 0 if len(events) else np.zeros(0, np.bool_)
    told = np.bincount(code[events.item_idx[known]], taste_weights(events.kind[known]), n)
    share: Float64s = told / max(float(told.sum()), 1e-12)
    return share
