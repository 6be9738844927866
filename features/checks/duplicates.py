"""`duplicates`: lines that are equal in all but their event_id; a few are normal (two of a thing scanned apart)."""

from typing import Final

import polars as pl

from features import columns as c
from features.checks.result import CheckResult, collected, skipped, verdict
from features.contracts import Tables
from features.shop import Shop

NAME: Final = "duplicates"
ALLOWED: Final = 0.05
_SAME: Final = (
    c.CUSTOMER_ID,
    c.KIND,
    c.AT,
    c.ITEM_KIND,
    c.ITEM_ID,
    c.QUANTITY,
    c.PRICE,
    c.ORDER_ID,
    c.CHANNEL,
    c.PROPS,
)


def check_duplicates(tables: Tables, shop: Shop) -> CheckResult:  # noqa: ARG001
    """FAIL when more than 5 % of the events repeat another one in customer, kind, moment, item, amounts and order."""
    # 64-bit hashes keep the grouping small; chance matches are far below the share that matters.
    whole = tables.scan("events").select(c.CUSTOMER_ID, c.ITEM_ID, key=pl.struct(_SAME).hash())
    total = int(collected(whole.select(pl.len())).item())
    if not total:
        return skipped(NAME, "There are no events.")
    groups = whole.group_by("key").agg(n=pl.len(), who=pl.col(c.CUSTOMER_ID).first(), item=pl.col(c.ITEM_ID).first())
    again = collected(groups.filter(pl.col("n") > 1).sort("n", "who", descending=[True, False]))
    examples = [f"{row['who']} × {row['item']}: {row['n']} times" for row in again.head(5).iter_rows(named=True)]
    found = (int(again["n"].sum()) - again.height, total)
    return verdict(NAME, found, ALLOWED, "events repeat another event", examples)
