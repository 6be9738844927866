"""What is known of each item's kind: its brand, its category's repurchase, its promotion, and who is fond of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy.sparse as sp

from features.arrays import Float32s, Float64s, Int32s, Int64s
from features.attributes import read_attributes
from features.dataset import Dataset
from features.history import DAY_US, Histories

CATEGORY_PRIOR: Final = 20.0  # customers' worth of the whole shop's share of buyers who buy again
LATELY_DAYS: Final = 7  # what was paid in the last days with a price says what the price is now
LIFT_PRIOR: Final = 20.0  # customers' worth of buying like everybody
LEAST_SHARING: Final = 30  # customers with a value: rarer ones say nothing, and could say who somebody is
LEAST_BUYERS: Final = 3  # of those, for an item to be told apart from the rest
MOST_VALUES: Final = 64


@dataclass(frozen=True, eq=False)
class KindFacts:
    """Tables of kinds, fitted on what lies before a moment; n is the number of items.

    Attributes
    ----------
    brand : int32 [n]
        Code of the brand, -1 where unknown.
    category_rebuy_rate : float32 [n]
        Share of (customer, item of the item's category) pairs bought again, shrunk towards the shop's; NaN without
        category.
    price_lately : float32 [n]
        Mean price paid per unit on the last seven days with prices, NaN where it was not bought then.
    member_discount : float32 [n]
        1 - member price / price of the catalogue, NaN where either is unknown.
    attribute_values : tuple of str
        `name=value` of the most frequent customer attributes, rows of the next; none that fewer than 30 share.
    attribute_lift : CSR float32 [n_values, n]
        Logarithm of how many times as likely as anybody a customer with the value is to have bought the item, shrunk;
        0 where fewer than three of them did.
    """

    brand: Int32s
    category_rebuy_rate: Float32s
    price_lately: Float32s
    member_discount: Float32s
    attribute_values: tuple[str, ...]
    attribute_lift: sp.csr_array

    def lifts_of(self, attributes: Mapping[str, str], item_idx: Int32s) -> Float64s:
        """Return the lifts of a customer's attribute values: float64 [n_known values, n], in the order of the table."""
        said = {f"{name}={value}" for name, value in attributes.items()}
        rows = [row for row, value in enumerate(self.attribute_values) if value in said]
        found = np.zeros((len(rows), len(item_idx)))
        for place, row in enumerate(rows):
            mine = slice(int(self.attribute_lift.indptr[row]), int(self.attribute_lift.indptr[row + 1]))
            listed, lift = self.attribute_lift.indices[mine], self.attribute_lift.data[mine]
            if len(listed):
                at = np.minimum(np.searchsorted(listed, item_idx), len(listed) - 1)
                found[place] = np.where(listed[at] == item_idx, lift[at], 0.0)
        return found


def fit_kind_facts(
    dataset: Dataset, category: Int32s, rebuyers: Float64s, buyers: Float64s, customer: Int64s, item: Int64s
) -> KindFacts:
    """Count; `customer` and `item` are the distinct pairs bought, `rebuyers` and `buyers` (float64 [n]) count them."""
    products, n_items = dataset.products, len(dataset.products)
    bought = dataset.product_events.purchases
    priced = ~np.isnan(bought.price)
    last = int(bought.at[priced].max(initial=0))
    lately = bought.where(priced & (bought.at > last - LATELY_DAYS * DAY_US))
    brand = products.codes("brand")[0]
    values, lift = _lifts(dataset, customer, item, buyers)
    return KindFacts(
        brand, _group_rates(category, rebuyers, buyers), mean_prices(lately, n_items), _discounts(dataset), values, lift
    )


def mean_prices(bought: Histories, n_items: int) -> Float32s:
    """Mean price paid per unit: float32 [n_items], NaN where none is known."""
    known = ~np.isnan(bought.price)
    count = np.bincount(bought.item_idx[known], minlength=n_items)
    total = np.bincount(bought.item_idx[known], bought.price[known].astype(np.float64), n_items)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def _group_rates(group: Int32s, part: Float64s, whole: Float64s) -> Float32s:
    """Rate of each item's group, NaN where it has none."""
    known, n = group >= 0, int(group.max(initial=-1)) + 1
    parts, wholes = (np.bincount(group[known], of[known], n + 1) for of in (part, whole))
    overall = part.sum() / max(whole.sum(), 1.0)
    rate = (parts + CATEGORY_PRIOR * overall) / (wholes + CATEGORY_PRIOR)
    return np.where(known, rate[group], np.nan).astype(np.float32)


def _discounts(dataset: Dataset) -> Float32s:
    products = dataset.products
    if not {"price", "member_price"} <= set(products.frame.columns):
        return np.full(len(products), np.nan, np.float32)
    price, member = products.floats("price"), products.floats("member_price")
    return np.where(price > 0, 1.0 - member / np.where(price > 0, price, 1.0), np.nan).astype(np.float32)


def _lifts(dataset: Dataset, customer: Int64s, item: Int64s, buyers: Float64s) -> tuple[tuple[str, ...], sp.csr_array]:
    """Compare who shares an attribute's value with all who ever bought."""
    n_customers, n_items = len(dataset.customers), len(dataset.products)
    active = np.zeros(n_customers, np.bool_)
    active[customer] = True
    sharing: dict[str, list[int]] = {}
    for who, known in enumerate(read_attributes(dataset.customers)):
        if active[who]:
            for name, value in known.items():
                sharing.setdefault(f"{name}={value}", []).append(who)
    enough = [value for value, who in sharing.items() if len(who) >= LEAST_SHARING]
    values = tuple(sorted(sorted(enough, key=lambda value: (-len(sharing[value]), value))[:MOST_VALUES]))
    member = sp.csr_array(
        (
            np.ones(sum(len(sharing[v]) for v in values)),
            np.array([who for v in values for who in sharing[v]], np.int64),
            np.append(0, np.cumsum([len(sharing[v]) for v in values])).astype(np.int64),
        ),
        shape=(len(values), n_customers),
    )
    pairs = sp.csr_array((np.ones(len(item)), (customer, item)), shape=(n_customers, n_items))
    counts = sp.csr_array(member @ pairs)
    counts.sort_indices()
    size = np.repeat(np.diff(member.indptr), np.diff(counts.indptr)).astype(np.float64)
    usual = buyers[counts.indices] / max(int(active.sum()), 1)
    lift = np.log((counts.data + LIFT_PRIOR * usual) / (size + LIFT_PRIOR) / usual)
    counts.data = np.where(counts.data >= LEAST_BUYERS, lift, 0.0).astype(np.float32)
    counts.eliminate_zeros()
    return values, counts
