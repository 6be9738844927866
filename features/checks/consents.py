"""`consents`: purposes nobody asks about, which are most often misspelt."""

from typing import Final

import polars as pl

from features import columns as c
from features.checks.result import CheckResult, collected, skipped
from features.contracts import Tables
from features.shop import Shop

NAME: Final = "consents"
PURPOSES: Final = ("personalization", "marketing")


def check_consents(tables: Tables, shop: Shop) -> CheckResult:  # noqa: ARG001
    """FAIL when a refusal stands under a purpose that Pond does not know: it would not be honoured."""
    said = tables.scan("consents").group_by("purpose", "state").agg(n=pl.len(), who=pl.col(c.CUSTOMER_ID).min())
    rows = collected(said.sort("purpose", "state"))
    if rows.is_empty():
        return skipped(NAME, "There are no consents.")
    unheard = rows.filter((pl.col("state") == "off") & ~pl.col("purpose").is_in(PURPOSES))
    count = int(unheard["n"].sum())
    sentence = f"{count:,} refusals stand under purposes other than {' and '.join(PURPOSES)}."
    examples = tuple(f"{row['purpose']}: {row['who']}" for row in unheard.head(5).iter_rows(named=True))
    return CheckResult(NAME, "FAIL" if count else "PASS", count, examples, sentence)
