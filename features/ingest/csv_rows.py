"""CSV in batches: a fast reader for chunks in which every line is a row, an exact one for the others."""

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from features.errors import ContractError, UnreadableFile
from features.ingest.source import CHUNK_BYTES, RawBatch, Reject, open_text_bytes, require_utf8

MAX_RECORD_BYTES: Final = 2 * CHUNK_BYTES


def csv_batches(path: Path, separator: str, encoding: str) -> Iterator[RawBatch]:
    """Yield the rows of a CSV file (header; quotes as in RFC 4180; BOM allowed); blank lines are no rows."""
    with open_text_bytes(path, encoding) as (chunks, tell):
        names: list[str] = []
        line = 1
        for data in _whole_records(chunks):
            require_utf8(path, data, line)
            body, start = data, line
            line += data.count(b"\n")
            if not names:
                names, used = _header(path, data, separator)
                body = data[used:]
                start += data.count(b"\n", 0, used)
            batch = _fast(body, start, names, separator, tell) or _exact(body, start, names, separator, tell)
            yield batch


def _whole_records(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Cut a stream where a line ends outside quotes; after two chunks without such a place, where any line ends."""
    carry = b""
    for chunk in chunks:
        data = carry + chunk
        cut = _last_record_end(data)
        if not cut and len(data) > MAX_RECORD_BYTES:
            cut = data.rfind(b"\n") + 1
        if cut:
            yield data[:cut]
        carry = data[cut:]
    if carry:
        yield carry


def _last_record_end(data: bytes) -> int:
    end = data.rfind(b"\n") + 1
    is_open = data.count(b'"', 0, end) % 2
    while end and is_open:
        before = data.rfind(b"\n", 0, end - 1) + 1
        is_open ^= data.count(b'"', before, end) % 2
        end = before
    return end


def _header(path: Path, data: bytes, separator: str) -> tuple[list[str], int]:
    """Return the column names and the bytes the header takes."""
    if b"\x00" in data[: data.find(b"\n") + 1]:
        raise UnreadableFile(str(path), "is not what its name says: it holds binary data, not CSV.")
    lines = io.StringIO(data.decode(), newline="")
    try:
        names = [name.strip() for name in next(csv.reader(lines, delimiter=separator))]
    except (StopIteration, csv.Error) as error:
        raise UnreadableFile(str(path), "has no header line that can be read as CSV.") from error
    if not any(names):
        raise UnreadableFile(str(path), "has an empty first line instead of a header.")
    if names[0].startswith(("{", "[")):
        raise UnreadableFile(str(path), "is not what its name says: it holds JSON, not CSV; name it .jsonl.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ContractError(
            str(path), twice[0] or "(no name)", "stands twice in the header; give each column its own name."
        )
    used = len(data.decode()[: lines.tell()].encode())
    return names, used


def _fast(body: bytes, start: int, names: list[str], separator: str, tell: Callable[[], int]) -> RawBatch | None:
    """Parse a chunk in which each line is one row; None when it is not such a chunk."""
    n_lines = body.count(b"\n") + (not body.endswith(b"\n"))
    if not body or b"\n\n" in body or b"\n\r\n" in body or body.startswith((b"\n", b"\r\n")):
        return None
    try:
        frame = pl.read_csv(
            body, has_header=False, new_columns=names, separator=separator, infer_schema=False, extra_columns="raise",
            missing_columns="raise", schema=dict.fromkeys(names, pl.String),
        )  # fmt: skip
    except pl.exceptions.PolarsError:
        return None
    if frame.height != n_lines or _may_lack_fields(body, frame, separator):
        return None
    lines: list[bytes] = []

    def raw(row: int) -> str:
        if not lines:
            lines.extend(body.split(b"\n"))
        return lines[row].decode().rstrip("\r")

    return RawBatch(frame, np.arange(start, start + n_lines, dtype=np.int64), raw, (), tell())


def _may_lack_fields(body: bytes, frame: pl.DataFrame, separator: str) -> bool:
    """Whether a row may be short; Polars fills it with nulls in silence (a long one it refuses)."""
    if b'"' in body:
        return frame.to_series(-1).null_count() > 0
    return body.count(separator.encode()) != frame.height * (frame.width - 1)


def _exact(body: bytes, start: int, names: list[str], separator: str, tell: Callable[[], int]) -> RawBatch:
    """Parse a chunk row by row: quoted newlines, blank lines, rows with too many or too few fields, stray quotes."""
    lines = [line + "\n" for line in body.decode().split("\n")]
    rows: list[list[str]] = []
    spans: list[tuple[int, int]] = []
    broken: list[Reject] = []
    text: Callable[[int, int], str] = lambda a, b: "".join(lines[a:b]).rstrip("\r\n")  # noqa: E731
    at = 0
    while at < len(lines):
        reader = csv.reader(lines[at:], delimiter=separator, strict=True)
        base = first = at
        try:
            for fields in reader:
                end = base + reader.line_num
                if len(fields) == len(names):
                    rows.append(fields)
                    spans.append((first, end))
                elif fields:
                    why = f"has {len(fields)} fields, the header has {len(names)}"
                    broken.append(Reject(start + first, why, text(first, end)))
                first = end
            at = len(lines)
        except csv.Error as error:
            broken.append(Reject(start + first, f"is not CSV ({error})", text(first, first + 1)))
            at = first + 1
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    frame = pl.DataFrame(
        {n: pl.Series([v or None for v in column], dtype=pl.String) for n, column in zip(names, columns, strict=True)}
    )
    places = np.array([start + a for a, _ in spans], np.int64)
    return RawBatch(frame, places, lambda row: text(*spans[row]), tuple(broken), tell())
