"""`Dataset`: an immutable snapshot of what a shop knew strictly before a moment T (DESIGN §2)."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

import numpy as np
import polars as pl

from features import columns as c
from features.arrays import AnyArray, Bools, Int32s, Int64s
from features.clock import quietest_hour
from features.columns import EVENT_KINDS, EventKind, ItemKind
from features.consents import END_OF_TIME, refusals
from features.contracts import Tables
from features.erasure import NOBODY_ERASED, Erased, erased_customers
from features.history import Histories
from features.identities import canonical_ids, with_canonical_ids
from features.ids import IdMap
from features.trails import Trails, tells_discount, trails_of

MOMENT_MAX: Final = 2**62
NO_DEFAULT_TIME: Final = -(2**62)


@dataclass(frozen=True, eq=False)
class Entities:
    """Things with ids and attributes that change over time: products, contents, bundles or customers.

    Attributes
    ----------
    ids : IdMap
        Dense index ↔ external id; every id that occurs in events or in the catalogue.
    versions : DataFrame
        All versions known, columns of the contract plus `idx` (int32), ascending in (idx, valid_from).
    as_of : int
        Versions with `valid_from` at or after this moment are not seen.
    """

    ids: IdMap
    versions: pl.DataFrame
    as_of: int

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def frame(self) -> pl.DataFrame:
        """One row per entity in index order: its last version before `as_of`, null where none is known."""
        last = self.versions.filter(pl.col(c.VALID_FROM) < self.as_of).unique("idx", keep="last", maintain_order=True)
        every = pl.DataFrame({"idx": np.arange(len(self.ids), dtype=np.int32)})
        return every.join(last, on="idx", how="left", maintain_order="left")

    def codes(self, column: str, depth: int | None = None) -> tuple[Int32s, tuple[str, ...]]:
        """Return a text column as (codes int32 [n], -1 for null, and the labels by code, sorted).

        `depth` cuts a path such as `a/b/c` after that many parts. A column that is not there is null everywhere.
        """
        if column not in self.frame.columns:
            return np.full(len(self.frame), -1, np.int32), ()
        texts = self.frame[column].cast(pl.String)
        if depth is not None:
            texts = texts.str.split("/").list.head(depth).list.join("/")
        labels = tuple(sorted(texts.drop_nulls().unique().to_list()))
        frame = pl.DataFrame(
            {"code": np.arange(len(labels), dtype=np.int32), "label": pl.Series(labels, dtype=pl.String)}
        )
        joined = pl.DataFrame({"label": texts}).join(frame, on="label", how="left", maintain_order="left")
        return joined["code"].fill_null(-1).to_numpy().astype(np.int32), labels

    def floats(self, column: str) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
        """Return a numeric column as float32 [n], NaN for null."""
        return self.frame[column].cast(pl.Float32).fill_null(float("nan")).to_numpy()


@dataclass(frozen=True, eq=False)
class Dataset:
    """What a shop knew strictly before `as_of`: who, which items, and what happened.

    Attributes
    ----------
    shop, timezone : str
        Whose, and by which clock.
    as_of : int
        UTC µs; every event is strictly earlier.
    customers, products, contents, bundles : Entities
        Ids and versioned attributes.
    events : mapping of ItemKind to Histories
        What customers did to items of each kind; row `customer_idx`, columns dense in that kind's `Entities`.
    refused : mapping of str to int
        Who has switched personalization off, and when (UTC µs): in nothing above, named so that a release can go on
        obeying when the live state is lost.
    trails : Trails or None
        What histories do not tell: channels, events about no item, discounts told; None: nobody looked.
    """

    shop: str
    timezone: str
    as_of: int
    customers: Entities
    products: Entities
    contents: Entities
    bundles: Entities
    events: dict[ItemKind, Histories]
    refused: Mapping[str, int] = field(default_factory=dict)
    trails: Trails | None = None

    @property
    def product_events(self) -> Histories:
        """What customers did to products."""
        return self.events[ItemKind.product]

    @property
    def content_events(self) -> Histories:
        """What customers did to contents."""
        return self.events[ItemKind.content]

    @property
    def bundle_events(self) -> Histories:
        """What customers did to bundles."""
        return self.events[ItemKind.bundle]

    @cached_property
    def day_starts(self) -> int:
        """The local hour at which the shop's day turns, as its purchases tell."""
        return quietest_hour(self.product_events.purchases.at, self.timezone)

    def items(self, kind: ItemKind) -> Entities:
        """Return the items of a kind."""
        return {ItemKind.product: self.products, ItemKind.content: self.contents, ItemKind.bundle: self.bundles}[kind]

    def before(self, moment: int) -> "Dataset":
        """Return the same ids and indexes with only what was known strictly before `moment`."""
        if moment >= self.as_of:
            return self
        cut: Callable[[Entities], Entities] = lambda e: replace(e, as_of=moment)  # noqa: E731
        trails = self.trails and self.trails.where(self.trails.at < moment, self.product_events.at < moment)
        return Dataset(
            self.shop, self.timezone, moment, cut(self.customers), cut(self.products), cut(self.contents),
            cut(self.bundles), {k: h.before(moment) for k, h in self.events.items()}, self.refused, trails,
        )  # fmt: skip

    @cached_property
    def counts(self) -> dict[str, int]:
        """Sizes for reports."""
        return {
            "customers": len(self.customers), "products": len(self.products), "contents": len(self.contents),
            "bundles": len(self.bundles), "product_events": len(self.product_events),
            "purchases": int((self.product_events.kind == EventKind.purchase).sum()),
            "content_events": len(self.content_events), "bundle_events": len(self.events[ItemKind.bundle]),
        }  # fmt: skip

    @cached_property
    def digest(self) -> str:
        """BLAKE2b over everything a fit can see; equal for equal data in whatever files it came."""
        state = hashlib.blake2b(digest_size=16)
        state.update(f"{self.shop}|{self.timezone}|{self.as_of}".encode())
        for entities in (self.customers, self.products, self.contents, self.bundles):
            state.update(entities.ids.utf8.tobytes())
            state.update(entities.ids.offsets.tobytes())
            known = entities.versions.filter(pl.col(c.VALID_FROM) < self.as_of)
            state.update(known.select(sorted(known.columns)).write_ndjson().encode())
        if self.refused:
            state.update(repr(sorted(self.refused.items())).encode())
        for kind in ItemKind:
            for array in vars(self.events[kind]).values():
                state.update(np.ascontiguousarray(array).tobytes())
        if self.trails is not None:
            for part in vars(self.trails).values():
                state.update(repr(part).encode() if isinstance(part, tuple) else np.ascontiguousarray(part).tobytes())
        return state.hexdigest()


_PLAIN_KINDS: Final = {
    ItemKind.product: ("products", c.PRODUCT_ID), ItemKind.content: ("contents", c.CONTENT_ID),
    ItemKind.bundle: ("bundles", c.BUNDLE_ID),
}  # fmt: skip


def build_dataset(
    tables: Tables, shop: str, timezone: str, as_of: int | None = None, erased: Erased = NOBODY_ERASED,
    *, obeys_later_words: bool = False,
) -> Dataset:  # fmt: skip
    """Build the snapshot of a shop at `as_of` (UTC µs; default: just after its last event, or its last product).

    Whose personalization is off, and who was `erased`, enters no fit: his events and attributes are left out. Without
    `as_of` the last word known decides, whenever it was said; with it the last word before, or with `obeys_later_words`
    the last one all the same: a release trained today obeys who refused today, whatever moment it looks back to.
    The ids of one person are one customer: histories are joined in (at, event_id) order, and of the profiles the one
    under the canonical id goes before those of the others.
    Events without an item (an open, a visit) are not part of any item's history and stay in the lake.
    Cost: one pass over the events, about 100 bytes of memory per event at the peak.
    """
    canonical = canonical_ids(tables)
    said = refusals(tables, END_OF_TIME if as_of is None or obeys_later_words else as_of)
    refused = {who: at for who, at in said.iter_rows() if who not in erased}
    if as_of is None:
        as_of = _just_after_everything(tables)
    left_out = [*refused, *erased_customers(tables, erased)]
    events = with_canonical_ids(tables.scan("events"), canonical)
    events = events.filter((pl.col(c.AT) < as_of) & ~pl.col(c.CUSTOMER_ID).is_in(left_out))
    profiles = _profiles(tables, canonical).filter(~pl.col(c.CUSTOMER_ID).is_in(left_out))
    customers = _entities(profiles, c.CUSTOMER_ID, events, as_of)
    items = {
        kind: _entities(tables.scan(table), key, events.filter(pl.col(c.ITEM_KIND) == kind.name), as_of, c.ITEM_ID)
        for kind, (table, key) in _PLAIN_KINDS.items()
    }
    made = {kind: _histories(events, timezone, customers.ids, items[kind].ids, kind) for kind in ItemKind}
    histories = {kind: found for kind, (found, _) in made.items()}
    trails = trails_of(events, customers.ids, made[ItemKind.product][1])
    return Dataset(
        shop, timezone, as_of, customers, items[ItemKind.product], items[ItemKind.content], items[ItemKind.bundle],
        histories, refused, trails,
    )  # fmt: skip


def _profiles(tables: Tables, canonical: Mapping[str, str]) -> pl.LazyFrame:
    """Return the versions of customers under canonical ids, those of other ids only where there are no own ones."""
    rows = tables.scan("customers")
    if not canonical:
        return rows
    own = ~pl.col(c.CUSTOMER_ID).is_in(list(canonical))
    rows = with_canonical_ids(rows.with_columns(own=own), canonical)
    return rows.filter(pl.col("own") | ~pl.col("own").any().over(c.CUSTOMER_ID)).drop("own")


def _just_after_everything(tables: Tables) -> int:
    """Return the moment after the last event; of a shop without events, after its products came."""
    last = tables.scan("events").select(pl.col(c.AT).max()).collect().item()
    if last is not None:
        return int(last) + 1
    came = (
        tables.scan("products").select(pl.max_horizontal(c.VALID_FROM, "created_at").max(), pl.len()).collect().row(0)
    )
    return int(came[0] or 0) + 1 if came[1] else 0


def _entities(
    rows: pl.LazyFrame, key: str, events: pl.LazyFrame, as_of: int, id_column: str | None = None
) -> Entities:  # fmt: skip
    rows = rows.with_columns(pl.col(c.VALID_FROM).fill_null(0)).filter(pl.col(c.VALID_FROM) < as_of)
    seen = events.select(pl.col(id_column or key).drop_nulls().unique().alias(key))
    ids = pl.concat([rows.select(pl.col(key).unique()), seen]).unique().sort(key).collect()[key]
    index = pl.DataFrame({key: ids, "idx": np.arange(len(ids), dtype=np.int32)})
    versions = rows.collect().join(index, on=key, how="inner").sort("idx", c.VALID_FROM, maintain_order=True)
    return Entities(IdMap.of(ids.to_list()), versions, as_of)


def _histories(
    events: pl.LazyFrame, timezone: str, customers: IdMap, items: IdMap, kind: ItemKind
) -> tuple[Histories, Bools]:
    """Return the histories of a kind, and of which rows the shop told of a discount."""
    who = pl.LazyFrame(
        {c.CUSTOMER_ID: pl.Series(customers.texts, dtype=pl.String), "u": np.arange(len(customers), dtype=np.int32)}
    )
    what = pl.LazyFrame(
        {c.ITEM_ID: pl.Series(items.texts, dtype=pl.String), "i": np.arange(len(items), dtype=np.int32)}
    )
    code = {name: number for number, name in enumerate(EVENT_KINDS)}
    rows = (
        events.filter((pl.col(c.ITEM_KIND) == kind.name) & pl.col(c.ITEM_ID).is_not_null())
        .select(
            c.CUSTOMER_ID, c.ITEM_ID, c.AT, c.KIND, c.QUANTITY, c.PRICE, c.ORDER_ID, c.EVENT_ID, told=tells_discount()
        )
        .join(who, on=c.CUSTOMER_ID)
        .join(what, on=c.ITEM_ID)
        .with_columns(pl.col(c.KIND).replace_strict(code, return_dtype=pl.UInt8))
        .sort("u", c.AT, c.EVENT_ID)
        .pipe(with_baskets, timezone)
        .select("u", "i", c.AT, c.KIND, c.QUANTITY, c.PRICE, "order_idx", "told")
        .collect()
    )
    indptr: Int64s = np.zeros(len(customers) + 1, np.int64)
    np.cumsum(np.bincount(rows["u"].to_numpy(), minlength=len(customers)), out=indptr[1:])
    array: Callable[[str, type], AnyArray] = lambda name, dtype: rows[name].to_numpy().astype(dtype)  # noqa: E731
    histories = Histories(
        indptr, array("i", np.int32), array(c.AT, np.int64), array(c.KIND, np.uint8),
        rows[c.QUANTITY].fill_null(1).to_numpy().astype(np.float32),
        rows[c.PRICE].fill_null(float("nan")).to_numpy().astype(np.float32), array("order_idx", np.int32),
    )  # fmt: skip
    return histories, array("told", np.bool_)


def with_baskets(rows: pl.LazyFrame, timezone: str) -> pl.LazyFrame:
    """Add `order_idx`: each customer's (`u`) baskets numbered 0, 1, … by their first line, -1 for what is no purchase.

    A basket is one `order_id`; purchases without one are grouped by the shop's local day (PRODUCT.md, Words).
    """
    moment = pl.from_epoch(pl.col(c.AT), time_unit="us").dt.replace_time_zone("UTC")
    day = moment.dt.convert_time_zone(timezone).dt.date().cast(pl.String)
    is_purchase = pl.col(c.KIND) == int(EventKind.purchase)
    # One window a step: Polars evaluates a window inside a window in the wrong groups.
    return (
        rows.with_columns(basket=pl.when(is_purchase).then(pl.coalesce("o:" + pl.col(c.ORDER_ID), "d:" + day)))
        .with_columns(opens=((pl.int_range(pl.len()).over("u", "basket") == 0) & is_purchase).cast(pl.Int32))
        .with_columns(number=pl.col("opens").cum_sum().over("u") - 1)
        .with_columns(order_idx=pl.when(is_purchase).then(pl.col("number").first().over("u", "basket")).otherwise(-1))
    )
