"""What happened between a release and a later question: events of customers, readings, changes of the catalogue."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
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
from models.contents.model import ContentModel
from models.contents.pulse import READING_KINDS, Readings
from models.rules import NO_RULES, RuleBook
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


def storefront_after(
    models: Models, changes: Sequence[Change], low_stock: float, rules: RuleBook = NO_RULES
) -> Storefront:
    """Return what may be shown after some changes, as the service knows it."""
    last: dict[ItemKind, dict[str, Mapping[str, Any]]] = defaultdict(dict)
    for change in changes:
        last[change.kind][str(change.row[f"{change.kind.name}_id"])] = change.row
    rows = {kind: list(told.values()) for kind, told in last.items()}
    return models.storefront.under(rules).with_low_stock(low_stock).with_changes(rows, models.products.ids)


def read_tails(
    lake: Tables, models: Models, customer_ids: Sequence[str], until: int, canonical: Mapping[str, str] | None = None,
    front: Storefront | None = None,
) -> dict[str, Mapping[ItemKind, History]]:  # fmt: skip
    """Read events of some customers from the release's `as_of` until `until`, by kind, in the indexes of `front`.

    `canonical` maps further ids of a person to the one among `customer_ids`; `front` (default: the release's own) knows
    the items that came since.
    """
    tails: dict[str, dict[ItemKind, History]] = defaultdict(dict)
    for kind in ItemKind:
        idx_of = (front or models.storefront).ids(kind).idx
        for name, history in _tails_of(kind, lake, models, customer_ids, until, canonical or {}, idx_of):
            tails[name][kind] = history
    return dict(tails)


def read_readings(
    lake: Tables, models: Models, until: int, front: Storefront, canonical: Mapping[str, str] | None = None
) -> Readings:
    """Return everybody's readings of contents from the release's `as_of` until `until`, ascending in time."""
    names = [kind.name for kind in READING_KINDS]
    rows = (
        with_canonical_ids(lake.scan("events"), canonical or {})
        .filter(
            (pl.col(c.AT) >= models.as_of) & (pl.col(c.AT) < until) & (pl.col(c.ITEM_KIND) == ItemKind.content.name)
            & pl.col(c.ITEM_ID).is_not_null() & pl.col(c.KIND).is_in(names)
        )
        .sort(c.AT, c.EVENT_ID)
        .select(c.CUSTOMER_ID, c.ITEM_ID, c.AT)
        .collect()
    )  # fmt: skip
    ids, taste = front.ids(ItemKind.content), models.part(ContentModel).taste
    content_of = {text: ids.idx(text) for text in rows[c.ITEM_ID].unique().to_list()}
    group_of = {text: taste.group(models.customers.ids.idx(text)) for text in rows[c.CUSTOMER_ID].unique().to_list()}
    content_idx = np.array([content_of[text] for text in rows[c.ITEM_ID].to_list()], np.int32)
    group = np.array([group_of[text] for text in rows[c.CUSTOMER_ID].to_list()], np.int32)
    known = content_idx >= 0
    return Readings(content_idx[known], rows[c.AT].to_numpy()[known].astype(np.int64), group[known])


def _tails_of(
    kind: ItemKind, lake: Tables, models: Models, customer_ids: Sequence[str], until: int,
    canonical: Mapping[str, str], idx_of: Callable[[str], int],
) -> list[tuple[str, History]]:  # fmt: skip
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
    return [
        (customer_ids[int(part["u"][0])], _history(part, idx_of))
        for part in rows.partition_by("u", maintain_order=True)
    ]


def _history(rows: pl.DataFrame, idx_of: Callable[[str], int]) -> History:
    item_idx = np.array([idx_of(text) for text in rows[c.ITEM_ID].to_list()], np.int32)
    return History(
        item_idx, rows[c.AT].to_numpy().astype(np.int64),
        rows[c.KIND].to_numpy().astype(np.uint8), rows[c.QUANTITY].fill_null(1).to_numpy().astype(np.float32),
        rows[c.PRICE].fill_null(float("nan")).to_numpy().astype(np.float32),
        rows["order_idx"].to_numpy().astype(np.int32),
    )  # fmt: skip
