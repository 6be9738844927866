"""`catalogue`: negative stock, products sold under cost, bundles that name products nobody knows."""

from typing import Final

import polars as pl

from features import columns as c
from features.checks.result import CheckResult, collected, skipped
from features.dataset import Tables
from features.shop import Shop

NAME: Final = "catalogue"


def check_catalogue(tables: Tables, shop: Shop) -> CheckResult:  # noqa: ARG001
    """FAIL on any negative stock or any bundle with an unknown product; a price under cost is only counted."""
    products, bundles = tables.scan("products"), tables.scan("bundles")
    known = products.select(pl.col(c.PRODUCT_ID).unique())
    if collected(known.head(1)).is_empty() and collected(bundles.head(1)).is_empty():
        return skipped(NAME, "There is no catalogue.")
    negative = collected(products.filter(pl.col("stock") < 0).select(c.PRODUCT_ID))[c.PRODUCT_ID]
    under = int(collected(products.select((pl.col(c.PRICE) < pl.col("cost")).sum())).item())
    parts = bundles.select(c.BUNDLE_ID, pl.col("product_ids")).explode("product_ids")
    broken = parts.join(known, left_on="product_ids", right_on=c.PRODUCT_ID, how="anti").select(c.BUNDLE_ID).unique()
    bad = collected(broken.sort(c.BUNDLE_ID))[c.BUNDLE_ID]
    count = len(negative) + len(bad)
    sentence = (
        f"{len(negative):,} product rows have negative stock, {len(bad):,} bundles name unknown products, "
        f"{under:,} product rows are priced under cost."
    )
    examples = (*negative.head(3), *bad.head(2))
    return CheckResult(NAME, "FAIL" if count else "PASS", count, examples, sentence)
