"""What happened between a release and a later question: events of customers and changes of the catalogue."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from features import columns as c
from features.columns import EVENT_KINDS, ItemKind
from features.contracts import Tables
from features.dataset import with_baskets
from features.history import History
from features.identities import with_canonical_ids
from features.ids import IdMap
from models.storefront import Storefront
from models.trained import Models


@dataclass(frozen=True, slots=True)
class Change:
    """A version of an item that came after a release: its full row, and from when it holds (UTC µs)."""

    at: int
    kind: ItemKind
    row: Mapping[str, Any]


def read_changes(lake: Tables, since: int, until: int) -> tuple[Change, ...]:
    """Return the versions of items that hold from a moment on (UTC µs), in the order of their moments."""
    found = []
    for kind in ItemKind:
        rows = lake.scan(f"{kind.name}s").filter(pl.col(c.VALID_FROM).is_between(since, until, closed="left")).collect()
        found += [Change(row[c.VALID_FROM], kind, row) for row in rows.to_dicts()]
    return tuple(sorted(found, key=lambda change: change.at))


def storefront_after(models: Models, changes: Sequence[Change], low_stock: float) -> Storefront:
    """Return what may be shown after some changes, as the service knows it."""
    last: dict[ItemKind, dict[str, Mapping[str, Any]]] = defaultdict(dict)
    for change in changes:
        last[change.kind][str(change.row[f"{change.kind.name}_id"])] = change.row
    rows = {kind: list(told.values()) for kind, told in last.items()}
    return models.storefront.with_low_stock(low_stock).with_changes(rows, models.products.ids)


def read_tails(
    lake: Tables, models: Models, customer_ids: Sequence[str], until: int, canonical: Mapping[str, str] | None = None
) -> dict[str, Mapping[ItemKind, History]]:
    """Read events of some customers from the release's `as_of` until `until`, in the release's indexes, by kind.

    `canonical` maps further ids of a person to the one among `customer_ids`.
    """
    tails: dict[str, dict[ItemKind, History]] = defaultdict(dict)
    for kind in ItemKind:
        for name, history in _tails_of(kind, lake, models, customer_ids, until, canonical or {}):
            tails[name][kind] = history
    return dict(tails)


def _tails_of(
    kind: ItemKind, lake: Tables, models: Models, customer_ids: Sequence[str], until: int, canonical: Mapping[str, str]
) -> list[tuple[str, History]]:
    code = {name: number for number, name in enumerate(EVENT_KINDS)}
    who = pl.Series(customer_ids, dtype=pl.String)
    wanted = pl.LazyFrame({c.CUSTOMER_ID: who, "u": np.arange(len(who), dtype=np.int32)})
    rows = (
        with_canonical_ids(lake.scan("events"), canonical)
        .filter(
            (pl.col(c.AT) >= models.as_of) & (pl.col(c.AT) < until)
            & (pl.col(c.ITEM_KIND) == kind.name) & pl.col(c.ITEM_ID).is_not_null()
        )
        .join(wanted, on=c.CUSTOMER_ID)
        .with_columns(pl.col(c.KIND).replace_strict(code, return_dtype=pl.UInt8))
        .sort("u", c.AT, c.EVENT_ID)
        .pipe(with_baskets, models.timezone)
        .collect()
    )  # fmt: skip
    ids = models.items_of(kind).ids
    return [
        (customer_ids[int(part["u"][0])], _history(part, ids)) for part in rows.partition_by("u", maintain_order=True)
    ]


def _history(rows: pl.DataFrame, items: IdMap) -> History:
    return History(
        items.idxs(rows[c.ITEM_ID].to_list()), rows[c.AT].to_numpy().astype(np.int64),
        rows[c.KIND].to_numpy().astype(np.uint8), rows[c.QUANTITY].fill_null(1).to_numpy().astype(np.float32),
        rows[c.PRICE].fill_null(float("nan")).to_numpy().astype(np.float32),
        rows["order_idx"].to_numpy().astype(np.int32),
    )  # fmt: skip
