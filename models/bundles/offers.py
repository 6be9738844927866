"""An offer: one bundle that may be made to a customer, with what it costs and why; and which products may be in it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from features.arrays import Bools, Int32s
from features.history import DAY_US
from models.bundles.assembly import margin_of, price_of
from models.bundles.wishes import BundleDetails
from models.items import ItemTable
from models.reasons import Reason
from models.slate import Request

AUTO: Final = "auto-"


@dataclass(frozen=True, eq=False, slots=True)
class Offer:
    """One bundle.

    Attributes
    ----------
    item_idx : int
        The shop's bundle, -1 for one that was put together for this answer.
    item_id : str
        The id of the latter, else empty.
    worth : float
        Comparable among offers of the same making.
    distance : int
        Steps from the price that is aimed at.
    """

    item_idx: int
    item_id: str
    worth: float
    distance: int
    stage: str
    reason: Reason
    details: BundleDetails


def bundle_id_of(part_ids: Sequence[str]) -> str:
    """Return the id of a bundle that nobody named: the same for the same parts in any order, in every release."""
    text = "\0".join(sorted(part_ids))
    return AUTO + hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def priced(
    parts: Sequence[int], items: ItemTable, roles: tuple[str, ...], evidence: Mapping[str, float],
    price: float | None = None, discount: float = 0.0,
) -> BundleDetails:  # fmt: skip
    """Return what a bundle is made of and costs: `price`, else its parts' prices less the discount."""
    idx = np.asarray(parts, np.int32)
    each, cost = items.price[idx].astype(np.float64), float(items.cost[idx].astype(np.float64).sum())
    alone = float(price_of(each, 0.0))
    whole = float(price_of(each, discount)) if price is None else price
    margin = float(margin_of(np.array(whole), np.array(cost)))
    saving = round(alone - whole, 2)
    return BundleDetails(
        tuple(int(part) for part in parts), _known(whole), _known(saving), _known(round(margin, 4)), evidence, roles
    )


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None


@dataclass(frozen=True, eq=False)
class Admission:
    """Which products may be parts for this request: in stock, accepted, not in the basket, not just bought."""

    request: Request
    items: ItemTable
    just_bought_days: float

    @cached_property
    def just_bought(self) -> Int32s:
        """What the customer bought so lately that he needs no other: int32, ascending."""
        query = self.request.query
        bought = query.history.purchases
        since = query.at - round(self.just_bought_days * DAY_US)
        return np.unique(bought.item_idx[(bought.at >= since) & (bought.item_idx >= 0)])

    @cached_property
    def _unwanted(self) -> Int32s:
        excluded = self.items.idxs(self.request.bundle.exclude)
        return np.concatenate([self.just_bought, self.request.basket, excluded])

    def of(self, item_idx: Int32s) -> Bools:
        """Return bool [n]."""
        keep = self.items.showable(item_idx, self.request.query.at)
        keep &= ~np.isin(item_idx, self._unwanted)
        if self.request.part_steering.rules:
            keep &= self.request.part_steering.allows(item_idx)
        wanted = self.request.filters
        if wanted.category:
            keep &= self.items.below(wanted.category)[self.items.category[item_idx]]
        if wanted.brands:
            keep &= np.array([self.items.brands[i] in wanted.brands for i in item_idx.tolist()], np.bool_)
        return keep

    def affords(self, price: float | None) -> bool:
        """Whether a bundle's price lies within the caller's filters."""
        low, high = self.request.filters.price_min, self.request.filters.price_max
        if price is None:
            return low is None and high is None
        return (low is None or price >= low) and (high is None or price <= high)
