"""`catalogue`: negative stock, members who pay more, products sold under cost, bundles of products nobody knows."""

from typing import Final

import polars as pl

from features import columns as c
from features.checks.result import CheckResult, collected, skipped
from features.contracts import Tables
from features.sentences import counted
from features.shop import Shop

NAME: Final = "catalogue"


def check_catalogue(tables: Tables, shop: Shop) -> CheckResult:  # noqa: ARG001
    """FAIL on negative stock, a member price above the price or a bundle with an unknown product.

    A price under cost is only counted: it may be meant.
    """
    products, bundles = tables.scan("products"), tables.scan("bundles")
    known = products.select(pl.col(c.PRODUCT_ID).unique())
    if collected(known.head(1)).is_empty() and collected(bundles.head(1)).is_empty():
        return skipped(NAME, "There is no catalogue.")
    negative = collected(products.filter(pl.col("stock") < 0).select(c.PRODUCT_ID))[c.PRODUCT_ID]
    dearer = collected(products.filter(pl.col("member_price") > pl.col(c.PRICE)).select(c.PRODUCT_ID))[c.PRODUCT_ID]
    under = int(collected(products.select((pl.col(c.PRICE) < pl.col("cost")).sum())).item())
    parts = bundles.select(c.BUNDLE_ID, pl.col("product_ids")).explode("product_ids")
    broken = parts.join(known, left_on="product_ids", right_on=c.PRODUCT_ID, how="anti").select(c.BUNDLE_ID).unique()
    bad = collected(broken.sort(c.BUNDLE_ID))[c.BUNDLE_ID]
    count = len(negative) + len(dearer) + len(bad)
    sentence = (
        f"{counted(len(negative), 'product row')} with negative stock, {len(dearer):,} with a member price above the "
        f"price, {under:,} priced under cost; {counted(len(bad), 'bundle')} with unknown products."
    )
    examples = (*negative.head(2), *dearer.head(2), *bad.head(1))
    return CheckResult(NAME, "FAIL" if count else "PASS", count, examples, sentence)
