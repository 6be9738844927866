"""Toy worlds: small datasets built from a few readable rows, for every test that needs one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import polars as pl

from features.columns import EVENT_KINDS, EventKind
from features.dataset import Dataset, build_dataset
from features.history import DAY_US, History
from models.query import Query

START: Final = 1_735_660_800_000_000  # 2025-01-01 00:00 in Shanghai, UTC µs: day 0 of every toy world
TIMEZONE: Final = "Asia/Shanghai"

_TEXTS: Final = pl.List(pl.String)
SCHEMAS: Final[dict[str, dict[str, Any]]] = {
    "events": {
        "event_id": pl.String, "customer_id": pl.String, "kind": pl.String, "at": pl.Int64, "item_kind": pl.String,
        "item_id": pl.String, "quantity": pl.Float64, "price": pl.Float64, "order_id": pl.String,
        "channel": pl.String, "decision_id": pl.String, "touch_id": pl.String, "position": pl.Int64,
        "value": pl.Float64, "props": pl.String,
    },
    "products": {
        "product_id": pl.String, "valid_from": pl.Int64, "title": pl.String, "category": pl.String,
        "brand": pl.String, "price": pl.Float64, "member_price": pl.Float64, "cost": pl.Float64,
        "stock": pl.Float64, "tags": _TEXTS, "pack_size": pl.String, "status": pl.String, "created_at": pl.Int64,
        "image_url": pl.String, "text": pl.String, "attributes": pl.String,
    },
    "contents": {
        "content_id": pl.String, "valid_from": pl.Int64, "form": pl.String, "title": pl.String, "body": pl.String,
        "tags": _TEXTS, "product_ids": _TEXTS, "channels": _TEXTS, "stage": pl.String, "published_at": pl.Int64,
        "starts_at": pl.Int64, "expires_at": pl.Int64,
    },
    "bundles": {
        "bundle_id": pl.String, "valid_from": pl.Int64, "product_ids": _TEXTS, "title": pl.String,
        "price": pl.Float64, "theme": pl.String, "status": pl.String,
    },
    "customers": {
        "customer_id": pl.String, "valid_from": pl.Int64, "attributes": pl.String, "tags": _TEXTS,
        "timezone": pl.String, "group_ids": _TEXTS, "advisor_id": pl.String, "inviter_id": pl.String,
        "joined_at": pl.Int64,
    },
    "consents": {
        "customer_id": pl.String, "purpose": pl.String, "channel": pl.String, "at": pl.Int64, "state": pl.String,
        "source": pl.String,
    },
    "identities": {"id_type": pl.String, "id_value": pl.String, "customer_id": pl.String},
}  # fmt: skip


@dataclass(frozen=True)
class ToyTables:
    """Tables in memory; a table not given is empty. `features.dataset.Tables` is what it stands for."""

    frames: Mapping[str, pl.DataFrame] = field(default_factory=dict)

    def scan(self, table: str) -> pl.LazyFrame:
        empty = pl.DataFrame(schema=SCHEMAS[table])
        return (
            pl.concat([empty, self.frames[table]], how="diagonal_relaxed").lazy()
            if table in self.frames
            else empty.lazy()
        )


def day(number: float) -> int:
    """UTC µs of a day of the toy world (its noon with `.5`)."""
    return START + round(number * DAY_US)


def events(rows: Iterable[Sequence[Any]]) -> pl.DataFrame:
    """Events from rows (customer, item, day[, kind = purchase[, order]]); item "content:x" is a content."""
    made = []
    for number, (customer, item, at, *rest) in enumerate(rows):
        kind, order = (*rest, *("purchase", None)[len(rest) :])
        item_kind, _, name = item.rpartition(":")
        made.append(
            {
                "event_id": f"e{number:06d}",
                "customer_id": customer,
                "kind": kind,
                "at": day(at),
                "item_kind": item_kind or "product",
                "item_id": name,
                "quantity": 1.0,
                "order_id": order,
            }
        )
    return pl.DataFrame(made, schema=SCHEMAS["events"])


def rows_of(table: str, rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows of a catalogue or customer table; columns not given are null, `valid_from` is day 0."""
    full = (
        [{"valid_from": START} | dict(row) for row in rows]
        if table not in ("consents", "identities")
        else [dict(r) for r in rows]
    )
    return pl.DataFrame(full, schema=SCHEMAS[table], strict=False)


def world(
    what: Iterable[Sequence[Any]] = (), *, as_of: float | None = None, **tables: Iterable[Mapping[str, Any]]
) -> Dataset:
    """Build a dataset from event rows (see `events`) and rows of `products`, `customers` …; `as_of` is a day."""
    frames = {"events": events(what)} | {name: rows_of(name, rows) for name, rows in tables.items()}
    return build_dataset(ToyTables(frames), "toy", TIMEZONE, None if as_of is None else day(as_of))


def history(dataset: Dataset, rows: Iterable[Sequence[Any]]) -> History:
    """History of one customer from rows (item, day[, kind]); items that the dataset does not know are -1."""
    made = sorted(
        ((name, day(at), EVENT_KINDS.index((*rest, "purchase")[0])) for name, at, *rest in rows), key=lambda r: r[1]
    )
    kind = np.array([k for *_, k in made], np.uint8)
    _, basket = np.unique([at // DAY_US for _, at, _ in made], return_inverse=True)
    return History(
        dataset.products.ids.idxs([name for name, *_ in made]), np.array([at for _, at, _ in made], np.int64), kind,
        np.ones(len(made), np.float32), np.full(len(made), np.nan, np.float32),
        np.where(kind == EventKind.purchase, basket, -1).astype(np.int32),
    )  # fmt: skip


def query(dataset: Dataset, customer: str = "", *, seeds: Sequence[str] = (), **known: Any) -> Query:
    """The question of a customer of the dataset (a stranger when unknown) at its `as_of`."""
    who = dataset.customers.ids.idx(customer)
    known.setdefault("history", dataset.product_events.of(who))
    return Query(
        at=dataset.as_of, moment=START + (dataset.as_of - START) // DAY_US * DAY_US, customer_idx=who,
        seeds=dataset.products.ids.idxs(list(seeds)), **known,
    )  # fmt: skip


def two_tastes(n_each: int = 6, n_items: int = 5) -> Dataset:
    """Tea drinkers buy tea0 … tea4, coffee drinkers coffee0 … coffee4; everybody skips one item of the taste.

    Customer `tea-3` has bought all teas but `tea3`; `bread` is bought by all; `tea-new` and `nobody-bought` are in
    the catalogue only, `tea-new` since day 35, all else since day 0. Titles, categories and brands tell the tastes
    apart in English and Chinese.
    """
    titles = {"tea": "green tea 绿茶 leaves", "coffee": "roasted coffee 咖啡 beans"}
    rows: list[tuple[Any, ...]] = []
    for taste in titles:
        for who in range(n_each):
            kept = [i for i in range(n_items) if i != who % n_items]
            rows += [(f"{taste}-{who}", f"{taste}{i}", 10 + who + i) for i in kept]
            rows.append((f"{taste}-{who}", "bread", 20))
    names = [(f"{t}{i}", t) for t in titles for i in range(n_items)] + [("tea-new", "tea")]
    products = [
        {
            "product_id": name, "title": f"{titles[t]} no {name}", "category": f"drinks/{t}", "brand": f"{t} house",
            "tags": [t],
        }
        for name, t in names
    ]  # fmt: skip
    products += [{"product_id": "bread", "title": "rye bread 面包", "category": "food/bread", "brand": "baker"}]
    products += [{"product_id": "nobody-bought"}]
    products[names.index(("tea-new", "tea"))]["valid_from"] = day(35)
    customers = [
        {"customer_id": f"{t}-{who}", "attributes": f'{{"region": "{t}land", "tier": "gold"}}'}
        for t in titles for who in range(n_each)
    ]  # fmt: skip
    return world(rows, products=products, customers=customers, as_of=40)
