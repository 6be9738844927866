"""Feature tables: what is counted per customer, per product and per pair, in Narwhals over integers (DESIGN §2).

The same expressions run on Polars, pandas and Spark and agree bit by bit: integers only (moments in µs, money in
cents, quantities left out), no joins in time, no mode, no float sums.
"""

from typing import Any, Final

import narwhals as nw

from features import columns as c

DAY_US: Final = 86_400_000_000
_CENTS: Final = "cents"
_BASKET: Final = "basket"


def purchase_lines(events: Any, tz_offset_us: int = 0) -> Any:
    """Keep the purchases of products and add `cents` (Int64, of the line) and `basket` (text).

    Parameters
    ----------
    events
        The events table, in any frame Narwhals knows (lazy or not).
    tz_offset_us
        Added to `at` to find the local day of purchases without order_id.

    Returns
    -------
    frame
        customer_id, item_id, at, cents, basket. A line without price has 0 cents; without quantity it counts one.
    """
    frame = nw.from_native(events)
    is_line = (nw.col(c.KIND) == "purchase") & (nw.col(c.ITEM_KIND) == "product") & ~nw.col(c.ITEM_ID).is_null()
    # Floor, because engines differ in how they round halves.
    amount = nw.coalesce(nw.col(c.PRICE), nw.lit(0.0)) * nw.coalesce(nw.col(c.QUANTITY), nw.lit(1.0))
    cents = (amount * 100 + 0.5).floor().cast(nw.Int64)
    day = ((nw.col(c.AT) + tz_offset_us) // DAY_US).cast(nw.String)
    basket = nw.coalesce(nw.concat_str([nw.lit("o:"), nw.col(c.ORDER_ID)]), nw.concat_str([nw.lit("d:"), day]))
    return (
        frame.filter(is_line)
        .select(c.CUSTOMER_ID, c.ITEM_ID, c.AT, cents.alias(_CENTS), basket.alias(_BASKET))
        .to_native()
    )


def customer_table(lines: Any) -> Any:
    """One row per customer over `purchase_lines`.

    Columns: customer_id, purchases, baskets, products (distinct), cents, first_at, last_at, mean_gap_us
    ((last − first) // (baskets − 1), null for one basket). All Int64.
    """
    frame = nw.from_native(lines)
    counted = frame.group_by(c.CUSTOMER_ID).agg(
        nw.len().alias("purchases"),
        nw.col(_BASKET).n_unique().alias("baskets"),
        nw.col(c.ITEM_ID).n_unique().alias("products"),
        nw.col(_CENTS).sum().alias(_CENTS),
        nw.col(c.AT).min().alias("first_at"),
        nw.col(c.AT).max().alias("last_at"),
    )
    counted = _whole(counted, "purchases", "baskets", "products", _CENTS)
    # A whole divisor of at least one keeps the engines from dividing by zero each in their own way.
    steps = nw.when(nw.col("baskets") > 1).then(nw.col("baskets") - 1).otherwise(nw.lit(1))
    span = nw.col("last_at") - nw.col("first_at")
    gap = nw.when(nw.col("baskets") > 1).then(span // steps)
    return counted.with_columns(gap.alias("mean_gap_us")).to_native()


def product_table(lines: Any) -> Any:
    """One row per product: item_id, buyers (distinct customers), purchases, cents, first_at, last_at; all Int64."""
    frame = nw.from_native(lines)
    counted = frame.group_by(c.ITEM_ID).agg(
        nw.col(c.CUSTOMER_ID).n_unique().alias("buyers"),
        nw.len().alias("purchases"),
        nw.col(_CENTS).sum().alias(_CENTS),
        nw.col(c.AT).min().alias("first_at"),
        nw.col(c.AT).max().alias("last_at"),
    )
    return _whole(counted, "purchases", "buyers", _CENTS).to_native()


def customer_product_table(lines: Any) -> Any:
    """One row per customer and product bought: purchases, baskets, last_at; all Int64."""
    frame = nw.from_native(lines)
    counted = frame.group_by(c.CUSTOMER_ID, c.ITEM_ID).agg(
        nw.len().alias("purchases"),
        nw.col(_BASKET).n_unique().alias("baskets"),
        nw.col(c.AT).max().alias("last_at"),
    )
    return _whole(counted, "purchases", "baskets").to_native()


def _whole(frame: Any, *names: str) -> Any:
    """Counts as Int64 on every engine; after the grouping, since pandas groups only plain aggregations fast."""
    return frame.with_columns(nw.col(name).cast(nw.Int64) for name in names)
