"""What the keeper may write: rows that have the contract's types and that the lake does not hold yet."""

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from features import columns as c
from features.contracts import Meaning, table_named
from features.lake import Lake

# Tables whose rows happened once: their id, which a retry after days, or after the server's loss, brings again.
ONCE: Final[Mapping[str, str]] = {"events": c.EVENT_ID, "decisions": c.DECISION_ID}


def typed(table: str, rows: list[dict[str, Any]]) -> tuple[pl.DataFrame, list[dict[str, Any]]]:
    """Return the rows with the contract's types, and those that do not have them (Polars would make them null)."""
    columns = table_named(table).columns
    good: list[dict[str, Any]] = []
    bad: list[dict[str, Any]] = []
    for row in rows:
        (good if all(_fits(row.get(column.name), column.meaning) for column in columns) else bad).append(row)
    return pl.DataFrame(good, schema=table_named(table).schema), bad


def _fits(value: Any, meaning: Meaning) -> bool:
    if value is None:
        return True
    if meaning == "list":
        return isinstance(value, list) and all(isinstance(text, str) for text in value)
    if meaning in ("moment", "whole"):
        bits = 63 if meaning == "moment" else 31
        return isinstance(value, int) and not isinstance(value, bool) and -(2**bits) <= value < 2**bits
    if meaning == "amount":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, str)


def without_known(lake: Lake, table: str, rows: pl.DataFrame) -> tuple[pl.DataFrame, int, list[dict[str, Any]]]:
    """Drop rows whose id the lake holds: (new ones, how many are equal, those that contradict the lake).

    Needed for late events, and whenever the server forgot ids it had taken (it was emptied, or lost its last second).
    The time range lets Parquet skip what cannot match, so that it costs little for rows of today; an id that comes
    again with another time, after it was forgotten, is found only when both times lie in the range of one batch.
    """
    if not rows.height or table not in ONCE:
        return rows, 0, []
    key = ONCE[table]
    first = rows.unique(key, keep="first", maintain_order=True)
    near = pl.col(c.AT).is_between(rows[c.AT].min(), rows[c.AT].max())
    known = lake.scan(table).filter(near & pl.col(key).is_in(first[key].implode())).collect().unique(key)
    new = first.join(known, on=key, how="anti", maintain_order="left")
    settled = pl.concat([known, new])
    equal = rows.join(settled, on=rows.columns, how="semi", nulls_equal=True).height - new.height
    against = rows.join(settled, on=rows.columns, how="anti", nulls_equal=True, maintain_order="left")
    return new, equal, against.to_dicts()
