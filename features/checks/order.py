"""`order`: events in the future, baskets that last for days, messages opened before they were sent."""

import time
from typing import Final

import polars as pl

from features import columns as c
from features.checks.result import CheckResult, collected, skipped
from features.contracts import Tables
from features.history import DAY_US
from features.shop import Shop

NAME: Final = "order"
BASKET_DAYS: Final = 2


def check_order(tables: Tables, shop: Shop) -> CheckResult:  # noqa: ARG001
    """FAIL when any event stands in the future or before what it follows; long baskets are counted with them."""
    events = tables.scan("events")
    if collected(events.head(1)).is_empty():
        return skipped(NAME, "There are no events.")
    future = collected(events.filter(pl.col(c.AT) > time.time_ns() // 1_000).select(c.EVENT_ID))
    is_line = (pl.col(c.KIND) == "purchase") & pl.col(c.ORDER_ID).is_not_null()
    spans = events.filter(is_line).group_by(c.CUSTOMER_ID, c.ORDER_ID).agg(span=pl.col(c.AT).max() - pl.col(c.AT).min())
    long = collected(spans.filter(pl.col("span") >= BASKET_DAYS * DAY_US))
    touches = events.filter(pl.col(c.TOUCH_ID).is_not_null()).group_by(c.TOUCH_ID)
    sent, opened = ((pl.col(c.AT).filter(pl.col(c.KIND) == kind)).min().alias(kind) for kind in ("sent", "open"))
    early = collected(touches.agg(sent, opened).filter(pl.col("open") < pl.col("sent")))
    count = future.height + long.height + early.height
    examples = [*future[c.EVENT_ID].head(2), *long[c.ORDER_ID].head(2), *early[c.TOUCH_ID].head(1)]
    sentence = (
        f"{future.height:,} events are in the future, {long.height:,} baskets last {BASKET_DAYS} days or more, "
        f"{early.height:,} messages were opened before they were sent."
    )
    return CheckResult(NAME, "FAIL" if count else "PASS", count, tuple(examples), sentence)
