"""What a file is made of: batches of raw rows, each row with its place in the file and its text for the rejects."""

import codecs
import gzip
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, cast

import polars as pl

from features.arrays import Int64s
from features.errors import UnreadableFile

CHUNK_BYTES: Final = 8 << 20
EXTRAS: Final = "\x00extras"
"""Column of a raw frame with a shop's own columns as one JSON object, where the reader has made it already."""

_MAGIC: Final = {
    b"\x1f\x8b": "gzip", b"PAR1": "Parquet", b"PK\x03\x04": "a zip or Excel file",
    b"\xd0\xcf\x11\xe0": "an old Excel file",
    b"\xff\xfe": "UTF-16 text", b"\xfe\xff": "UTF-16 text", b"ARROW1": "Arrow",
}  # fmt: skip
_NAMES: Final = {
    ".csv": "csv", ".csv.gz": "csv", ".jsonl": "jsonl", ".jsonl.gz": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"
}  # fmt: skip


@dataclass(frozen=True)
class Reject:
    """A row that did not get in: physical line (CSV, JSONL) or row number (Parquet) from 1, why, and its text."""

    line: int
    reason: str
    row: str


@dataclass(frozen=True)
class RawBatch:
    """Some rows of a file as they stand there.

    Attributes
    ----------
    frame : DataFrame
        Columns of the file; CSV cells are text.
    lines : int64 [n]
        Physical line at which each row starts, the header being line 1; in Parquet the row number from 1.
    raw : callable
        Row index in this batch → its text.
    broken : tuple of Reject
        What could not even be cut into fields.
    done_bytes : int
        How much of the file has been read.
    """

    frame: pl.DataFrame
    lines: Int64s
    raw: Callable[[int], str]
    broken: tuple[Reject, ...]
    done_bytes: int


def format_of(path: Path) -> str:
    """Return `csv`, `jsonl` or `parquet` by the name, after looking whether the file begins like that."""
    kind = next((kind for suffix, kind in _NAMES.items() if path.name.lower().endswith(suffix)), "")
    if not kind:
        raise UnreadableFile(str(path), f"has a name that says no format; use one of {', '.join(_NAMES)}.")
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise UnreadableFile(str(path), f"cannot be read ({error.strerror}).") from error
    if not head:
        raise UnreadableFile(str(path), "is empty; export it again.")
    found = next((name for magic, name in _MAGIC.items() if head.startswith(magic)), "text")
    wanted = "gzip" if path.name.lower().endswith(".gz") else {"parquet": "Parquet"}.get(kind, "text")
    if found != wanted:
        raise UnreadableFile(
            str(path), f"is not what its name says: it holds {found}, not {wanted}; rename or export it again."
        )
    return kind


@contextmanager
def open_text_bytes(path: Path, encoding: str) -> Iterator[tuple[Iterator[bytes], Callable[[], int]]]:
    """Open a plain or gzipped text file as UTF-8 chunks of bounded size, and a function that tells the bytes read."""
    with path.open("rb") as plain:
        packed = path.name.lower().endswith(".gz")
        stream = cast("BinaryIO", gzip.GzipFile(fileobj=plain)) if packed else plain
        yield _utf8_chunks(path, stream, encoding), plain.tell


def _utf8_chunks(path: Path, stream: BinaryIO, encoding: str) -> Iterator[bytes]:
    is_utf8 = codecs.lookup(encoding).name == "utf-8"
    decoder = codecs.getincrementaldecoder(encoding)()
    first = True
    while True:
        try:
            block = stream.read(CHUNK_BYTES)
            out = block if is_utf8 else decoder.decode(block, final=not block).encode()
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise UnreadableFile(
                str(path), f"is a damaged or truncated gzip file ({error}); copy or export it again."
            ) from error
        except UnicodeDecodeError as error:
            raise UnreadableFile(str(path), f"is not {encoding}; name its encoding in the mapping file.") from error
        if first:
            out, first = out.removeprefix(codecs.BOM_UTF8), False
        if not block:
            if out:
                yield out
            return
        yield out


def require_utf8(path: Path, data: bytes, first_line: int) -> None:
    """Refuse the file at the first line that is not UTF-8."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = first_line + data.count(b"\n", 0, error.start)
        hint = 'save it as UTF-8, or name its encoding in the mapping file (encoding = "gb18030")'
        raise UnreadableFile(str(path), f"is not UTF-8 (line {line}); {hint}.") from error
