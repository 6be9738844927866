"""`unknown_items`, `unknown_customers`: events that name what the catalogue or the customer table does not know."""

from typing import Final

import polars as pl

from features import columns as c
from features.checks.result import CheckResult, collected, skipped, verdict
from features.contracts import Tables
from features.shop import Shop

ALLOWED: Final = 0.01
ALLOWED_CUSTOMERS: Final = 1.0  # customers without attributes are normal
_ITEMS: Final = (
    ("product", "products", c.PRODUCT_ID),
    ("content", "contents", c.CONTENT_ID),
    ("bundle", "bundles", c.BUNDLE_ID),
)


def check_unknown_items(tables: Tables, shop: Shop) -> CheckResult:  # noqa: ARG001
    """FAIL when more than 1 % of the events with an item name one without a catalogue row; SKIP without a catalogue."""
    count = total = 0
    examples: list[str] = []
    for kind, table, key in _ITEMS:
        events = tables.scan("events").filter((pl.col(c.ITEM_KIND) == kind) & pl.col(c.ITEM_ID).is_not_null())
        known = tables.scan(table).select(pl.col(key).unique())
        if collected(known.head(1)).is_empty():
            continue
        seen, missing = _unknown(events, c.ITEM_ID, known, key)
        count, total = count + int(missing["n"].sum()), total + seen
        examples += [f"{kind} {item}" for item in missing[c.ITEM_ID].head(5)]
    if not total:
        return skipped("unknown_items", "There is no catalogue, or no event with an item of it.")
    return verdict(
        "unknown_items", (count, total), ALLOWED, "events name an item that is not in the catalogue", examples
    )


def check_unknown_customers(tables: Tables, shop: Shop) -> CheckResult:  # noqa: ARG001
    """Count events of customers without a row; it never fails, since many shops know only their members."""
    known = tables.scan("customers").select(pl.col(c.CUSTOMER_ID).unique())
    seen, missing = _unknown(tables.scan("events"), c.CUSTOMER_ID, known, c.CUSTOMER_ID)
    if not seen or collected(known.head(1)).is_empty():
        return skipped("unknown_customers", "There is no customer table, or there are no events.")
    examples = missing[c.CUSTOMER_ID].head(5).to_list()
    found = (int(missing["n"].sum()), seen)
    return verdict(
        "unknown_customers", found, ALLOWED_CUSTOMERS, "events are of customers without attributes", examples
    )


def _unknown(events: pl.LazyFrame, column: str, known: pl.LazyFrame, key: str) -> tuple[int, pl.DataFrame]:
    counts = collected(events.group_by(column).agg(n=pl.len()))
    missing = (
        counts.lazy().join(known, left_on=column, right_on=key, how="anti").sort("n", column, descending=[True, False])
    )
    return int(counts["n"].sum() or 0), collected(missing)
