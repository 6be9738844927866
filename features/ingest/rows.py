"""Rows: a raw batch becomes rows of the contract and, for each bad one, the reason."""

from dataclasses import dataclass
from typing import Final

import polars as pl

from features import columns as c
from features.contracts import Column, Table
from features.errors import ContractError
from features.ingest.cells import extras_json, merged_json, read_column
from features.ingest.mapping import TableMapping
from features.ingest.source import EXTRAS
from features.ingest.times import TimeReader

NEEDS_ITEM: Final = ("impression", "click", "cart", "purchase", "favorite", "review", "refund", "dislike")


@dataclass(frozen=True)
class TypedRows:
    """A batch in the contract's types.

    Attributes
    ----------
    frame : DataFrame
        Columns of the contract, in order; bad cells are null.
    reasons : Series of String
        Why a row is rejected, null for good rows.
    """

    frame: pl.DataFrame
    reasons: pl.Series


class RowReader:
    """Turns the raw batches of one file into rows of one table."""

    def __init__(self, table: Table, mapping: TableMapping, times: TimeReader, file: str, *, is_open: bool) -> None:
        self._is_open = is_open
        self._table, self._mapping, self._times, self._file = table, mapping, times, file
        self._checked = False
        self._names: set[str] | None = None
        self.kept_aside: set[str] = set()
        self.left_out: set[str] = set()

    def read(self, raw: pl.DataFrame) -> TypedRows:
        """Type and validate one batch; a file without a required column is a `ContractError`."""
        sources = self._mapping.sources(self._table, set(raw.columns))
        if not self._checked:
            self._check_columns(raw, sources)
            self._checked = True
            self._names = None if self._is_open else set(sources)
        reasons = pl.Series("reason", [None] * raw.height, dtype=pl.String)
        columns: list[pl.Series] = []
        for column in self._table.columns:
            values, why = self._column(column, raw, sources)
            if column.required and values.null_count():
                missing = pl.DataFrame({"bad": values.is_null()}).select(
                    pl.when("bad").then(pl.lit(f"{column.name} is missing")).cast(pl.String).alias("why")
                )["why"]
                reasons = _first(reasons, why, missing)
            elif why is not None:
                reasons = _first(reasons, why)
            columns.append(values.alias(column.name))
        frame = pl.DataFrame(columns)
        frame = self._with_extras(frame, raw, set(sources.values()))
        if self._table.name == "events":
            frame, why = _finish_events(frame)
            reasons = _first(reasons, why)
        return TypedRows(frame.select(self._table.schema.names()), reasons)

    def may_have(self, name: str) -> bool:
        """Whether a column can still turn up: known after the first batch, except for JSON, where each row says."""
        return self._names is None or name in self._names

    def _check_columns(self, raw: pl.DataFrame, sources: dict[str, str]) -> None:
        known = [name for name in raw.columns if name != EXTRAS]
        has = f"'{self._file}' has {', '.join(known) or 'no columns'}"
        for name, source in self._mapping.columns.items():
            if source not in raw.columns:
                raise ContractError(
                    self._table.name, name, f"is mapped to '{source}', which is not in the file; {has}."
                )
        for name in self._table.required:
            if name not in sources and name not in self._mapping.defaults:
                hint = " (is its separator another than ','? name it in the mapping file)" if len(known) == 1 else ""
                raise ContractError(
                    self._table.name, name, f"is a missing column: {has}; name it in a mapping file{hint}."
                )

    def _column(self, column: Column, raw: pl.DataFrame, sources: dict[str, str]) -> tuple[pl.Series, pl.Series | None]:
        default = self._mapping.defaults.get(column.name)
        source = sources.get(column.name)
        cells = raw[source] if source else pl.Series([None] * raw.height, dtype=pl.Null)
        if default is not None:
            cells = cells.fill_null(default) if cells.dtype == pl.String else _filled(cells, default)
        if column.meaning == "moment":
            values, why = self._times.read(self._table.name, column.name, cells)
            reasons = why if why.null_count() < len(why) else None
        else:
            values, reasons = read_column(self._table.name, column, cells)
        if reasons is not None:
            reasons = pl.DataFrame({"w": reasons}).select(pl.lit(f"{column.name} ") + pl.col("w"))["literal"]
        return values, reasons

    def _with_extras(self, frame: pl.DataFrame, raw: pl.DataFrame, used: set[str]) -> pl.DataFrame:
        others = [name for name in raw.columns if name not in used and name != EXTRAS]
        if not self._table.extras:
            self.left_out.update(others)
            return frame
        extras = raw[EXTRAS] if EXTRAS in raw.columns else None
        if others:
            self.kept_aside.update(others)
            extras = extras_json(raw, others)
        if extras is None:
            return frame
        return frame.with_columns(merged_json(frame[self._table.extras], extras).alias(self._table.extras))


def _filled(cells: pl.Series, default: str | float) -> pl.Series:
    if cells.dtype == pl.Null:
        return pl.Series([default] * len(cells))
    return cells.fill_null(pl.Series([default]).cast(cells.dtype).item())


def _first(*reasons: pl.Series | None) -> pl.Series:
    given = [series.alias(str(i)) for i, series in enumerate(r for r in reasons if r is not None)]
    return pl.DataFrame(given).select(pl.coalesce(pl.all()).alias("reason"))["reason"]


def _finish_events(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series]:
    frame = frame.with_columns(pl.col(c.ITEM_KIND).fill_null("product"))
    lacks = pl.col(c.ITEM_ID).is_null() & pl.col(c.KIND).is_in(NEEDS_ITEM)
    why = pl.format("item_id is missing: a {} is of some item", pl.col(c.KIND))
    return frame, frame.select(pl.when(lacks).then(why).cast(pl.String).alias("why"))["why"]
