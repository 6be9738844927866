"""Cells: one raw column, whatever its type in the file, becomes a column of the contract and a reason per bad cell."""

from typing import Any, Final

import orjson
import polars as pl

from features.contracts import Column
from features.errors import ContractError
from features.ids import MAX_ID_CHARS

LIST_SEPARATOR: Final = "|"
_INT32_MAX: Final = 2**31 - 1


def read_column(table: str, column: Column, cells: pl.Series) -> tuple[pl.Series, pl.Series | None]:
    """Return (values in the contract's type, reasons: String or null each; None when every cell is good).

    A column whose type cannot mean what the contract says (a list where a number belongs) is a `ContractError`.
    """
    if column.meaning in {"amount", "whole"}:
        return _numbers(table, column, cells)
    if column.meaning == "list":
        return _lists(table, column, cells), None
    if column.meaning == "json":
        return _objects(table, column, cells)
    texts = as_text(table, column.name, cells)
    if column.meaning == "word":
        return _words(column, texts)
    if column.meaning == "id":
        return texts, _bad_ids(texts)
    return texts, _reason(texts.str.contains("\x00", literal=True), "holds a NUL character")


def _words(column: Column, texts: pl.Series) -> tuple[pl.Series, pl.Series | None]:
    texts = texts.str.strip_chars()
    if not column.choices:
        return texts, None
    known = ", ".join(column.choices)
    return texts, _reason(~texts.is_in(column.choices), f"is unknown; use one of {known}", texts)


def _bad_ids(texts: pl.Series) -> pl.Series | None:
    text = pl.col("t")
    why = (
        pl.when(text.str.len_chars() > MAX_ID_CHARS).then(pl.lit(f"is longer than {MAX_ID_CHARS} characters"))
        .when(text.str.contains("\x00", literal=True)).then(pl.lit("holds a NUL character"))
        .when(text.str.strip_chars() == "").then(pl.lit("is blank"))
    )  # fmt: skip
    reasons = texts.to_frame("t").select(why.cast(pl.String).alias("why"))["why"]
    return reasons if reasons.null_count() < len(reasons) else None


def as_text(table: str, name: str, cells: pl.Series) -> pl.Series:
    """Text of each cell; numbers that are whole lose their `.0`, the empty text and NaN become null."""
    kind = cells.dtype
    if kind == pl.Null:
        return pl.Series(name, [None] * len(cells), dtype=pl.String)
    if kind.is_float():
        numbers = cells.cast(pl.Float64).fill_nan(None)
        whole = numbers.cast(pl.Int64, strict=False)
        is_whole = (whole.cast(pl.Float64) == numbers).fill_null(value=False)
        return whole.cast(pl.String).zip_with(is_whole, numbers.cast(pl.String))
    if kind == pl.Binary or isinstance(kind, pl.List | pl.Array | pl.Struct | pl.Object):
        raise ContractError(table, name, f"holds {kind}, not text; export it as text.")
    texts = cells.cast(pl.String)
    return texts.set((texts == "").fill_null(value=False), None) if kind == pl.String else texts


def _reason(bad: pl.Series, why: str, values: pl.Series | None = None) -> pl.Series | None:
    if not bad.fill_null(value=False).any():
        return None
    frame = pl.DataFrame(
        {"bad": bad, "v": values if values is not None else pl.Series([None] * len(bad), dtype=pl.String)}
    )
    text = pl.format("'{}' {}", pl.col("v").str.slice(0, 60), pl.lit(why)) if values is not None else pl.lit(why)
    return frame.select(pl.when("bad").then(text).cast(pl.String).alias("why"))["why"]


def _numbers(table: str, column: Column, cells: pl.Series) -> tuple[pl.Series, pl.Series | None]:
    kind = cells.dtype
    if not (kind.is_numeric() or kind in {pl.String, pl.Null}):
        raise ContractError(table, column.name, f"holds {kind}, not numbers; export it as a number.")
    if kind == pl.String:
        cells = cells.str.strip_chars()
        cells = cells.set((cells == "").fill_null(value=False), None)
    numbers = cells.cast(pl.Float64, strict=False)
    if kind != pl.String:
        numbers = numbers.fill_nan(None)
        cells = numbers
    frame = pl.DataFrame({"c": cells.is_not_null(), "x": numbers})
    x = pl.col("x")
    checks = [(pl.col("c") & (x.is_null() | ~x.is_finite()), "is not a number")]
    if column.least is not None:
        low, words = (x <= column.least, "more than") if column.above else (x < column.least, "at least")
        checks.append((low, f"must be {words} {column.least:g}"))
    if column.meaning == "whole":
        checks.append(((x != x.round()) | (x.abs() > _INT32_MAX), "is not a whole number"))
    flags = frame.select(pl.any_horizontal(*(bad.fill_null(value=False) for bad, _ in checks)).alias("bad"))["bad"]
    reasons = None
    if flags.any():
        texts = [pl.when(bad).then(pl.lit(why)).cast(pl.String) for bad, why in checks]
        reasons = frame.select(pl.coalesce(*texts).alias("why"))["why"]
    numbers = numbers.set(flags, None)
    return numbers.cast(pl.Int32) if column.meaning == "whole" else numbers, reasons


def _lists(table: str, column: Column, cells: pl.Series) -> pl.Series:
    kind = cells.dtype
    if isinstance(kind, pl.List | pl.Array):
        as_text(table, column.name, pl.Series([], dtype=kind.inner))
        lists = cells.cast(pl.List(kind.inner))
        # pandas turns lists of whole numbers with a gap into floats.
        whole = lists.cast(pl.List(pl.Int64)) if kind.inner in {pl.Float32(), pl.Float64()} else lists
        parts = whole.cast(pl.List(pl.String))
    else:
        parts = as_text(table, column.name, cells).str.split(LIST_SEPARATOR)
    tidy = parts.list.eval(pl.element().str.strip_chars())
    return tidy.list.eval(pl.element().filter(pl.element().is_not_null() & (pl.element() != "")))


def _objects(table: str, column: Column, cells: pl.Series) -> tuple[pl.Series, pl.Series | None]:
    if isinstance(cells.dtype, pl.Struct):
        cells = cells.struct.json_encode()
    texts = as_text(table, column.name, cells)
    if texts.null_count() == len(texts):
        return texts, None
    pairs = [_canonical(text) for text in texts.to_list()]
    values = pl.Series([value for value, _ in pairs], dtype=pl.String)
    if all(good for _, good in pairs):
        return values, None
    reasons = [None if good else "is not a JSON object" for _, good in pairs]
    return values, pl.Series(reasons, dtype=pl.String)


def _canonical(text: str | None) -> tuple[str | None, bool]:
    if text is None:
        return None, True
    try:
        value: Any = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None, False
    if not isinstance(value, dict):
        return None, isinstance(value, list)
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode(), True


def extras_json(frame: pl.DataFrame, names: list[str]) -> pl.Series:
    """Pack a shop's own columns into one JSON object a row, keys sorted, unknown values left out; null when empty."""
    pieces = []
    for name in sorted(names):
        column = pl.col(name)
        if frame.schema[name].is_float():
            column = column.fill_nan(None)
        inside = pl.struct(column.alias(name)).struct.json_encode().str.head(-1).str.slice(1)
        present = column.is_not_null()
        if frame.schema[name] == pl.String:
            present &= column != ""
        pieces.append(pl.when(present).then(inside))
    joined = pl.concat_str(pieces, separator=",", ignore_nulls=True)
    return frame.select(pl.when(joined != "").then("{" + joined + "}").alias("extras"))["extras"]


def merged_json(own: pl.Series, extras: pl.Series) -> pl.Series:
    """Join two columns of JSON objects; both stay, the table's own keys are the later ones."""
    frame = pl.DataFrame({"own": own, "extras": extras})
    both = pl.col("extras").str.head(-1) + "," + pl.col("own").str.slice(1)
    joined = pl.when((pl.col("own") == "{}") | pl.col("own").is_null()).then("extras").otherwise(both)
    return frame.select(pl.when(pl.col("extras").is_null()).then("own").otherwise(joined).alias("json"))["json"]
