"""Events per local day, with zeros for the days without."""

import polars as pl

from features.checks.result import collected, local_day
from features.contracts import Tables


def daily_counts(tables: Tables, timezone: str) -> pl.DataFrame:
    """Columns day (date) and n (events), each day from the first to the last."""
    days = collected(tables.scan("events").select(day=local_day(timezone)).group_by("day").agg(n=pl.len())).sort("day")
    if days.is_empty():
        return days
    every = pl.date_range(days["day"][0], days["day"][-1], "1d", eager=True).alias("day").to_frame()
    return every.join(days, on="day", how="left").with_columns(pl.col("n").fill_null(0).cast(pl.Int64)).sort("day")
