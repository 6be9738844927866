"""Histories: what customers did to items of one kind, as arrays in the order in which it happened."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Final, cast

import numpy as np

from features.arrays import AnyArray, Bools, Float32s, Int32s, Int64s, UInt8s
from features.columns import EventKind

DAY_US: Final = 86_400_000_000


@dataclass(frozen=True, eq=False, slots=True)
class History:
    """One customer's events with items of one kind, ascending in (at, event_id); all arrays have the same length n.

    Attributes
    ----------
    item_idx : int32 [n]
        Dense item index, -1 for an item the release does not know.
    at : int64 [n]
        UTC microseconds.
    kind : uint8 [n]
        `EventKind`.
    quantity : float32 [n]
        Units; 1 where the event does not say.
    price : float32 [n]
        Price per unit in the shop's currency, NaN where unknown (arrays only; tables hold null).
    order_idx : int32 [n]
        The basket (PRODUCT.md) of a purchase, numbered within this history in the order of time; -1 for other kinds.
        Purchases without an order_id are grouped by the shop's local day.
    """

    item_idx: Int32s
    at: Int64s
    kind: UInt8s
    quantity: Float32s
    price: Float32s
    order_idx: Int32s

    def __len__(self) -> int:
        return len(self.item_idx)

    def where(self, keep: "Bools | slice") -> "History":
        """Return the events selected by a mask [n] or a slice."""
        return History(*(getattr(self, f.name)[keep] for f in fields(self)))

    def before(self, moment: int) -> "History":
        """Return what happened strictly before `moment` (UTC µs)."""
        return self.where(slice(0, int(np.searchsorted(self.at, moment, side="left"))))

    def since(self, moment: int) -> "History":
        """Return what happened at or after `moment` (UTC µs), its baskets numbered from 0 as `then` expects."""
        later = self.where(slice(int(np.searchsorted(self.at, moment, side="left")), None))
        is_basket = later.order_idx >= 0
        numbers = np.full(len(later), -1, np.int32)
        numbers[is_basket] = np.unique(later.order_idx[is_basket], return_inverse=True)[1]
        return replace(later, order_idx=numbers)

    @property
    def purchases(self) -> "History":
        """Only the purchases."""
        return self.where(self.kind == EventKind.purchase)

    @property
    def n_baskets(self) -> int:
        """Number of baskets."""
        return int(self.order_idx.max()) + 1 if len(self) else 0

    def then(self, later: "History") -> "History":
        """Append later events; their baskets are numbered on from the last one here."""
        if not len(later):
            return self
        shifted = np.where(later.order_idx >= 0, later.order_idx + self.n_baskets, -1).astype(np.int32)
        parts: list[AnyArray] = [np.concatenate([getattr(self, f.name), getattr(later, f.name)]) for f in fields(self)]
        parts[-1] = np.concatenate([self.order_idx, shifted])
        return History(*parts)


EMPTY: Final = History(
    np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.uint8),
    np.empty(0, np.float32), np.empty(0, np.float32), np.empty(0, np.int32),
)  # fmt: skip


def joined(histories: Sequence[History]) -> History:
    """Return the histories of several ids of one person as one, ascending in time, baskets numbered anew.

    Events of one moment stand in the order of `histories`: event ids, which decide in a dataset, are not in arrays.
    """
    if len(histories) == 1:
        return histories[0]
    every = EMPTY
    for one in histories:
        every = every.then(one)
    ordered = every.where(cast("Bools", np.argsort(every.at, kind="stable")))
    is_basket = ordered.order_idx >= 0
    _, first, which = np.unique(ordered.order_idx[is_basket], return_index=True, return_inverse=True)
    numbers = np.full(len(ordered), -1, np.int32)
    numbers[is_basket] = np.argsort(np.argsort(first))[which]
    return replace(ordered, order_idx=numbers)


@dataclass(frozen=True, eq=False)
class Histories:
    """All customers' histories, in compressed-row form: customer c owns rows `indptr[c]:indptr[c + 1]` of every array.

    `indptr` is int64 [n_customers + 1]; the other arrays are those of `History`, one customer after the other.
    """

    indptr: Int64s
    item_idx: Int32s
    at: Int64s
    kind: UInt8s
    quantity: Float32s
    price: Float32s
    order_idx: Int32s

    @property
    def n_customers(self) -> int:
        """Number of customers, those without events included."""
        return len(self.indptr) - 1

    def __len__(self) -> int:
        return len(self.item_idx)

    def of(self, customer_idx: int) -> History:
        """Return one customer's history as views; the empty history for -1 (a stranger)."""
        if customer_idx < 0:
            return EMPTY
        row = slice(int(self.indptr[customer_idx]), int(self.indptr[customer_idx + 1]))
        return History(
            self.item_idx[row], self.at[row], self.kind[row], self.quantity[row], self.price[row], self.order_idx[row]
        )

    @property
    def customer_idx(self) -> Int32s:
        """The customer of each event: int32 [n]."""
        return np.repeat(np.arange(self.n_customers, dtype=np.int32), np.diff(self.indptr))

    @property
    def basket_idx(self) -> Int64s:
        """The basket of each event, numbered through all customers and ascending with them: int64 [n], -1 for none."""
        who, of_each = self.customer_idx, np.zeros(self.n_customers, np.int64)
        np.maximum.at(of_each, who, self.order_idx + 1)
        return np.where(self.order_idx >= 0, (np.cumsum(of_each) - of_each)[who] + self.order_idx, -1)

    def where(self, keep: Bools) -> "Histories":
        """Return the events selected by a mask [n]; customers keep their indexes, baskets their numbers."""
        counts = np.bincount(self.customer_idx[keep], minlength=self.n_customers)
        indptr = np.zeros(self.n_customers + 1, np.int64)
        np.cumsum(counts, out=indptr[1:])
        return Histories(
            indptr, self.item_idx[keep], self.at[keep], self.kind[keep], self.quantity[keep], self.price[keep],
            self.order_idx[keep],
        )  # fmt: skip

    @property
    def purchases(self) -> "Histories":
        """Only the purchases."""
        return self.where(self.kind == EventKind.purchase)

    def before(self, moment: int) -> "Histories":
        """Only what happened strictly before `moment` (UTC µs)."""
        return self.where(self.at < moment)
