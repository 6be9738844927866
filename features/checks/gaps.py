"""`gaps`: days without any event between the first and the last."""

from typing import Final

import polars as pl

from features.checks.daily import daily_counts
from features.checks.result import CheckResult, skipped, verdict
from features.contracts import Tables
from features.shop import Shop

NAME: Final = "gaps"
ALLOWED: Final = 0.1
LEAST_DAYS: Final = 14


def check_gaps(tables: Tables, shop: Shop) -> CheckResult:
    """FAIL when more than a tenth of the days have no event; SKIP under two weeks of data."""
    days = daily_counts(tables, shop.timezone)
    if days.height < LEAST_DAYS:
        return skipped(NAME, f"There are fewer than {LEAST_DAYS} days of events.")
    empty = days.filter(pl.col("n") == 0)["day"]
    examples = [str(day) for day in empty.head(5)]
    return verdict(NAME, (len(empty), days.height), ALLOWED, "days have no event", examples)
