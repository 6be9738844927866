"""The table `profiles`: one version of every customer for each moment that profiles were made for.

A version takes the place of an earlier one of the same moment. Whoever has refused personalization or was erased since
is taken out of all versions with each writing: the lock that an erasure takes for a table is held, and who is erased is
read while it is, so that neither overlooks the other.
"""

from collections.abc import Callable, Collection
from typing import Final

import polars as pl

from features import columns as c
from features.commits import Part
from features.contracts import PROFILES
from features.durable import sync_directory
from features.lake import Lake
from features.lake_rewrite import INGEST_LOCK, held

AT: Final = "as_of"
ROWS_A_PART: Final = 200_000


def replace_profiles(
    lake: Lake, rows: pl.DataFrame, as_of: int, gone: Callable[[list[str]], Collection[str]]
) -> pl.DataFrame:  # fmt: skip
    """Make `rows` the version of a moment (UTC µs); return those of them that readers see.

    Parameters
    ----------
    rows : DataFrame
        Columns of the contract; every `as_of` is the moment.
    gone : callable
        Given ids, returns those whose rows stand in no version; asked while the table is locked.
    """
    table, directory = PROFILES.name, lake.root / PROFILES.name
    with held(directory / INGEST_LOCK):
        known = lake.scan(table).select(c.CUSTOMER_ID).unique().collect()
        left_out = list(gone(pl.concat([known, rows.select(c.CUSTOMER_ID)])[c.CUSTOMER_ID].unique().to_list()))
        is_stale = (pl.col(AT) == as_of) | pl.col(c.CUSTOMER_ID).is_in(left_out)
        fresh = rows.filter(~pl.col(c.CUSTOMER_ID).is_in(left_out))
        made = [lake.write_part(table, part) for part in fresh.iter_slices(ROWS_A_PART)] if len(fresh) else []
        while True:
            number, before = lake.last_number(table) + 1, lake.parts(table)
            kept = [part for one in before if (part := _without(lake, one, is_stale)) is not None]
            removed = tuple(part.name for part in before if part not in kept)
            if not made and not removed:
                return fresh
            if lake.replace_next(table, number, [*kept, *made], removed, source="profiles", meta={AT: as_of}):
                break
        named = {part.name for part in (*kept, *made)}
        # At once, as an erasure does: what somebody refused or asked to be erased does not wait for a sweep. Nobody
        # else writes this table while it is locked, so parts that no commit names are leftovers.
        for path in directory.glob("*.parquet"):
            if path.name not in named:
                path.unlink(missing_ok=True)
        sync_directory(directory)
        return fresh


def _without(lake: Lake, part: Part, is_stale: pl.Expr) -> Part | None:
    """Return a part without stale rows: itself, another, or none when nothing is left."""
    rows = lake.scan_part(PROFILES.name, part)
    if not rows.filter(is_stale).head(1).collect().height:
        return part
    kept = rows.filter(~is_stale).collect()
    return lake.write_part(PROFILES.name, kept) if kept.height else None
