"""The honest baselines that every release is compared with: global popularity and personal frequency."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from features.arrays import Bools, Float64s, Int32s, Int64s
from features.dataset import Dataset
from features.history import History
from models.config import RepeatPolicy

POPULARITY: Final = "popularity"
FREQUENCY: Final = "personal_frequency"


@dataclass(frozen=True, eq=False)
class Baselines:
    """Counts that both baselines rank by.

    Attributes
    ----------
    n_baskets : int64 [n_items]
        Baskets with the item.
    order : int32 [≤ n_items]
        Items that were bought and may be shown, most baskets first, ties by index.
    showable : bool [n_items]
        What may be shown: baselines and pipeline choose from the same items.
    """

    n_baskets: Int64s
    order: Int32s
    showable: Bools

    def rank_by_popularity(self, history: History, k: int, policy: RepeatPolicy) -> Int32s:
        """Most bought items first: int32 [≤ k]; the repeat policy holds here as in the scene."""
        if policy == "allow":
            return self.order[:k]
        bought = np.unique(history.purchases.item_idx)
        inside = np.isin(self.order[: k + len(bought)] if policy == "exclude" else self.order, bought)
        return self.order[: len(inside)][inside if policy == "only" else ~inside][:k]

    def rank_by_frequency(self, history: History, k: int, policy: RepeatPolicy) -> Int32s:
        """Rank by the customer's own baskets with an item, ties by popularity, short lists filled with popularity.

        Under `exclude` there is no own item left and it is popularity; under `only` nothing is filled.
        """
        if policy == "exclude":
            return self.rank_by_popularity(history, k, policy)
        items, counts = basket_counts(history)
        keep = self.showable[items]
        items, counts = items[keep], counts[keep]
        own = items[np.lexsort((items, -self.n_baskets[items], -counts))][:k]
        if policy == "only" or len(own) >= k:
            return own
        more = self.order[: k + len(own)]
        return np.concatenate([own, more[~np.isin(more, own)]])[:k].astype(np.int32)


def basket_counts(history: History) -> tuple[Int32s, Int64s]:
    """Distinct known items a customer bought (int32 [n], ascending) and in how many baskets each (int64 [n])."""
    bought = history.purchases
    known = bought.item_idx >= 0
    baskets = bought.n_baskets + 1
    pairs = np.unique(bought.item_idx[known].astype(np.int64) * baskets + bought.order_idx[known])
    items, counts = np.unique(pairs // baskets, return_counts=True)
    return items.astype(np.int32), counts.astype(np.int64)


def fit_baselines(dataset: Dataset, showable: Bools) -> Baselines:
    """Count baskets by item; `showable` is bool [n_items]."""
    n_baskets = count_baskets(dataset)
    order = np.argsort(-n_baskets, kind="stable").astype(np.int32)
    return Baselines(n_baskets, order[(n_baskets > 0)[order] & showable[order]], showable)


def count_baskets(dataset: Dataset) -> Int64s:
    """Count the baskets with each product: int64 [n_items]."""
    bought, n_items = dataset.product_events.purchases, len(dataset.products)
    lines = np.lexsort((bought.order_idx, bought.customer_idx, bought.item_idx))
    item, who, basket = bought.item_idx[lines], bought.customer_idx[lines], bought.order_idx[lines]
    fresh = np.ones(len(item), np.bool_)
    fresh[1:] = (item[1:] != item[:-1]) | (who[1:] != who[:-1]) | (basket[1:] != basket[:-1])
    return np.bincount(item[fresh], minlength=n_items).astype(np.int64)


def buyer_share(dataset: Dataset) -> Float64s:
    """Share of customers who bought each product, one buyer added to each so that none is 0: float64 [n_items]."""
    bought, n_items = dataset.product_events.purchases, len(dataset.products)
    pairs = np.unique(bought.customer_idx.astype(np.int64) * max(n_items, 1) + bought.item_idx)
    buyers = np.bincount(pairs % max(n_items, 1), minlength=n_items)
    n_customers = len(np.unique(bought.customer_idx))
    return np.asarray((buyers + 1.0) / (n_customers + 1.0), np.float64)
