"""Trails: what histories of items do not tell: channels, events about no item, discounts the shop told of."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Self

import numpy as np
import polars as pl

from features import columns as c
from features.arrays import Bools, Int32s, Int64s, UInt8s
from features.columns import EVENT_KINDS, EventKind, ItemKind
from features.ids import IdMap

# A shop's own columns tell of a discount by their name and a value that is not nothing (0, "0", "", false, null, []).
DISCOUNT_WORDS: Final = ("disc", "coupon", "promo", "voucher", "折", "券", "优惠", "满减")
_VALUE: Final = r'(?:true|-?[0-9.]*[1-9][0-9.eE+-]*|"[^"]*[^"0.\s][^"]*"|\[\s*[^\]\s]|\{\s*[^}\s])'
TOLD_DISCOUNT: Final = rf'(?i)"[^"]*(?:{"|".join(DISCOUNT_WORDS)})[^"]*"\s*:\s*{_VALUE}'


@dataclass(frozen=True, eq=False, slots=True)
class Trail:
    """One customer's events that name a channel or no item, ascending in time; all arrays have the same length.

    Attributes
    ----------
    at : int64 [n]
        UTC µs.
    kind : uint8 [n]
        `EventKind`.
    channel : int32 [n]
        Code of the channel, -1 where the event names none.
    is_bare : bool [n]
        Whether the event is about no item, and so in no history.
    """

    at: Int64s
    kind: UInt8s
    channel: Int32s
    is_bare: Bools

    def __len__(self) -> int:
        return len(self.at)

    def before(self, moment: int) -> "Trail":
        """Return what happened strictly before `moment` (UTC µs)."""
        n = int(np.searchsorted(self.at, moment, side="left"))
        return Trail(self.at[:n], self.kind[:n], self.channel[:n], self.is_bare[:n])

    def then(self, later: "Trail") -> "Trail":
        """Append later events."""
        return _put_together([self, later]) if len(later) else self


NO_TRAIL: Final = Trail(np.empty(0, np.int64), np.empty(0, np.uint8), np.empty(0, np.int32), np.empty(0, np.bool_))


def joined_trails(trails: "list[Trail]") -> Trail:
    """Return the trails of several ids of one person as one, ascending in time."""
    if len(trails) == 1:
        return trails[0]
    every = _put_together([NO_TRAIL, *trails])
    order = np.argsort(every.at, kind="stable")
    return Trail(every.at[order], every.kind[order], every.channel[order], every.is_bare[order])


def _put_together(trails: "list[Trail]") -> Trail:
    return Trail(
        np.concatenate([one.at for one in trails]), np.concatenate([one.kind for one in trails]),
        np.concatenate([one.channel for one in trails]), np.concatenate([one.is_bare for one in trails]),
    )  # fmt: skip


def bare_trail(rows: "list[tuple[int, int]]") -> Trail:
    """Return events about no item, (UTC µs, kind) each, as a trail without channels."""
    told = np.array(sorted(rows), np.int64).reshape(-1, 2)
    n = len(told)
    return Trail(told[:, 0], told[:, 1].astype(np.uint8), np.full(n, -1, np.int32), np.ones(n, np.bool_))


@dataclass(frozen=True, eq=False)
class Trails:
    """All customers' trails in compressed-row form, and which lines of their product histories a discount was told of.

    Attributes
    ----------
    indptr : int64 [n_customers + 1]
        Customer c owns rows `indptr[c]:indptr[c + 1]` of `at`, `kind`, `channel`, `is_bare` (see `Trail`).
    channels : tuple of str
        Channels by code, sorted.
    told : bool [n_product_events]
        Whether the shop told of a discount in `props` (`DISCOUNT_WORDS`), row by row of the product histories.
    """

    indptr: Int64s
    at: Int64s
    kind: UInt8s
    channel: Int32s
    is_bare: Bools
    channels: tuple[str, ...]
    told: Bools = field(default_factory=lambda: np.empty(0, np.bool_))

    @classmethod
    def none(cls, n_customers: int, n_product_events: int = 0) -> Self:
        """Return the trails of customers of whom nothing of the kind is known."""
        return cls(
            np.zeros(n_customers + 1, np.int64), NO_TRAIL.at, NO_TRAIL.kind, NO_TRAIL.channel, NO_TRAIL.is_bare, (),
            np.zeros(n_product_events, np.bool_),
        )  # fmt: skip

    @property
    def n_customers(self) -> int:
        """Number of customers."""
        return len(self.indptr) - 1

    def of(self, customer_idx: int) -> Trail:
        """Return one customer's trail as views; nothing for -1 (a stranger)."""
        if not 0 <= customer_idx < self.n_customers:
            return NO_TRAIL
        row = slice(int(self.indptr[customer_idx]), int(self.indptr[customer_idx + 1]))
        return Trail(self.at[row], self.kind[row], self.channel[row], self.is_bare[row])

    def where(self, keep: Bools, keep_lines: Bools) -> "Trails":
        """Return the events and the product lines selected by two masks."""
        who = np.repeat(np.arange(self.n_customers), np.diff(self.indptr))
        indptr = np.zeros(self.n_customers + 1, np.int64)
        np.cumsum(np.bincount(who[keep], minlength=self.n_customers), out=indptr[1:])
        return Trails(
            indptr, self.at[keep], self.kind[keep], self.channel[keep], self.is_bare[keep], self.channels,
            self.told[keep_lines],
        )  # fmt: skip

    def without_lone_channels(self) -> "Trails":
        """Return them with empty names for channels that no row names (any more); codes stay what they were."""
        used = np.bincount(self.channel[self.channel >= 0], minlength=len(self.channels)) > 0
        names = tuple(name if kept else "" for name, kept in zip(self.channels, used.tolist(), strict=True))
        return replace(self, channels=names)


def trails_of(events: pl.LazyFrame, customers: IdMap, told: Bools) -> Trails:
    """Collect the trails of some customers from the rows of the table `events`, in (at, event_id) order."""
    who = pl.LazyFrame(
        {c.CUSTOMER_ID: pl.Series(customers.texts, dtype=pl.String), "u": np.arange(len(customers), dtype=np.int32)}
    )
    code: Mapping[str, int] = {name: number for number, name in enumerate(EVENT_KINDS)}
    rows = (
        events.filter(pl.col(c.CHANNEL).is_not_null() | pl.col(c.ITEM_ID).is_null())
        .select(
            c.CUSTOMER_ID, c.AT, c.EVENT_ID, c.CHANNEL, pl.col(c.KIND).replace_strict(code, return_dtype=pl.UInt8),
            is_bare=pl.col(c.ITEM_ID).is_null(),
        )
        .join(who, on=c.CUSTOMER_ID)
        .sort("u", c.AT, c.EVENT_ID)
        .select("u", c.AT, c.KIND, c.CHANNEL, "is_bare")
        .collect()
    )  # fmt: skip
    channels = tuple(sorted(rows[c.CHANNEL].drop_nulls().unique().to_list()))
    names = pl.DataFrame({c.CHANNEL: pl.Series(channels, dtype=pl.String), "code": range(len(channels))})
    codes = rows.select(c.CHANNEL).join(
        names.with_columns(pl.col("code").cast(pl.Int32)), on=c.CHANNEL, how="left", maintain_order="left"
    )["code"]
    indptr = np.zeros(len(customers) + 1, np.int64)
    np.cumsum(np.bincount(rows["u"].to_numpy(), minlength=len(customers)), out=indptr[1:])
    return Trails(
        indptr, rows[c.AT].to_numpy().astype(np.int64), rows[c.KIND].to_numpy().astype(np.uint8),
        codes.fill_null(-1).to_numpy().astype(np.int32), rows["is_bare"].to_numpy().astype(np.bool_), channels, told,
    )  # fmt: skip


def tells_discount() -> pl.Expr:
    """Return the expression that is true for events whose `props` tell of a discount."""
    is_line = (pl.col(c.KIND) == EventKind.purchase.name) & (pl.col(c.ITEM_KIND) == ItemKind.product.name)
    return (is_line & pl.col(c.PROPS).str.contains(TOLD_DISCOUNT)).fill_null(value=False)
