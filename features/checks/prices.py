"""`prices`: purchases without a price, at zero, or far from what the product usually costs."""

from typing import Final

import polars as pl

from features import columns as c
from features.checks.result import CheckResult, collected, skipped, verdict
from features.contracts import Tables
from features.shop import Shop

NAME: Final = "prices"
ALLOWED: Final = 0.05
TIMES: Final = 20.0


def check_prices(tables: Tables, shop: Shop) -> CheckResult:  # noqa: ARG001
    """FAIL when over 5 % of the purchases have no price, price 0, or one 20 times off the product's median.

    SKIP when no purchase has a price: then the shop does not record them.
    """
    price = pl.col(c.PRICE)
    bought = tables.scan("events").filter(pl.col(c.KIND) == "purchase").select(c.EVENT_ID, c.ITEM_ID, c.PRICE)
    counts = collected(bought.select(n=pl.len(), missing=price.null_count(), zero=(price == 0).sum())).row(
        0, named=True
    )
    if counts["n"] == counts["missing"]:
        return skipped(NAME, "No purchase has a price.")
    usual = bought.filter(price > 0).group_by(c.ITEM_ID).agg(usual=price.median())
    priced = bought.filter(price > 0).join(usual, on=c.ITEM_ID)
    far = collected(
        priced.filter((price > TIMES * pl.col("usual")) | (price * TIMES < pl.col("usual"))).sort(c.EVENT_ID)
    )
    rows = far.head(5).iter_rows(named=True)
    examples = [f"{row[c.ITEM_ID]}: {row[c.PRICE]:g}, usually {row['usual']:g}" for row in rows]
    free = collected(bought.filter(price == 0).select(pl.col(c.ITEM_ID).unique()).sort(c.ITEM_ID).head(2))
    examples = [*(f"{item}: 0" for item in free[c.ITEM_ID]), *examples]
    what = f"purchases have an odd price: {counts['missing']:,} none, {counts['zero']:,} zero, {far.height:,} far off"
    return verdict(NAME, (counts["missing"] + counts["zero"] + far.height, counts["n"]), ALLOWED, what, examples)
