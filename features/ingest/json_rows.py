"""JSON lines in batches: one object a line."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl

from features.errors import UnreadableFile
from features.ingest.source import EXTRAS, RawBatch, Reject, open_text_bytes, require_utf8


def json_batches(path: Path, encoding: str, known: Callable[[set[str]], set[str]]) -> Iterator[RawBatch]:
    """Yield the rows of a JSONL file; `known` picks the fields that are columns, the others become `EXTRAS`."""
    with open_text_bytes(path, encoding) as (chunks, tell):
        line, carry, read_any = 1, b"", False
        for chunk in chunks:
            data = carry + chunk
            cut = data.rfind(b"\n") + 1
            data, carry = data[:cut], data[cut:]
            if data:
                batch = _parse(path, data, line, known, tell())
                read_any = _check_first(path, batch, read_any=read_any)
                yield batch
                line += data.count(b"\n")
        if carry:
            batch = _parse(path, carry, line, known, tell())
            _check_first(path, batch, read_any=read_any)
            yield batch


def _check_first(path: Path, batch: RawBatch, *, read_any: bool) -> bool:
    if not read_any and batch.broken and not len(batch.lines):
        raise UnreadableFile(str(path), "is not what its name says: no line of its beginning is a JSON object.")
    return True


def _parse(path: Path, data: bytes, start: int, known: Callable[[set[str]], set[str]], done: int) -> RawBatch:
    require_utf8(path, data, start)
    rows: list[dict[str, Any]] = []
    places: list[int] = []
    broken: list[Reject] = []
    lines = data.split(b"\n")
    for offset, text in enumerate(lines):
        if not text.strip():
            continue
        try:
            row = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            broken.append(Reject(start + offset, f"is not JSON ({error})", text.decode()))
            continue
        if isinstance(row, dict):
            rows.append(row)
            places.append(start + offset)
        else:
            broken.append(Reject(start + offset, "is not a JSON object", text.decode()))
    names = {name for row in rows for name in row}
    wanted = sorted(known(names))
    columns = {name: _column([row.get(name) for row in rows]) for name in wanted}
    if names.difference(wanted):
        inside = set(wanted)
        columns[EXTRAS] = pl.Series(
            [_json({k: v for k, v in row.items() if k not in inside and v is not None}) for row in rows],
            dtype=pl.String,
        )
    at = np.array(places, np.int64)
    return RawBatch(pl.DataFrame(columns), at, lambda row: lines[at[row] - start].decode(), tuple(broken), done)


def _json(value: dict[str, Any]) -> str | None:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode() if value else None


def _column(values: list[Any]) -> pl.Series:
    """One column: text, whole numbers, numbers or lists when all values are such; else the text of each."""
    kinds = {type(value) for value in values} - {type(None)}
    if kinds <= {str}:
        return pl.Series(values, dtype=pl.String)
    if kinds == {int} and all(value is None or abs(value) < 2**63 for value in values):
        return pl.Series(values, dtype=pl.Int64)
    if kinds == {float}:
        return pl.Series(values, dtype=pl.Float64)
    if kinds == {list}:
        return pl.Series([v if v is None else [_text(x) for x in v] for v in values], dtype=pl.List(pl.String))
    return pl.Series([_text(value) for value in values], dtype=pl.String)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return (
        orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
        if not isinstance(value, int) or isinstance(value, bool)
        else str(value)
    )
