"""Parquet in batches."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import UnreadableFile
from features.ingest.source import RawBatch

BATCH_ROWS: Final = 131_072


def parquet_batches(path: Path) -> Iterator[RawBatch]:
    """Yield the rows of a Parquet file; a row's place is its number from 1."""
    size, done = path.stat().st_size, 0
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            total = max(file.metadata.num_rows, 1)
            names = file.schema_arrow.names
            for batch in file.iter_batches(BATCH_ROWS):
                yield _batch(pa.Table.from_batches([batch]), done, int(size * (done + batch.num_rows) / total))
                done += batch.num_rows
            if not done:
                yield _batch(file.schema_arrow.empty_table(), 0, size)
    except (pa.ArrowException, OSError) as error:
        raise UnreadableFile(
            str(path), f"is damaged or is not Parquet ({str(error)[:120]}); export it again."
        ) from error
    if len(set(names)) != len(names):
        raise UnreadableFile(str(path), "has two columns of one name.")


def _batch(table: pa.Table, done: int, done_bytes: int) -> RawBatch:
    frame = pl.from_arrow(table)
    if isinstance(frame, pl.Series):
        frame = frame.to_frame()

    def raw(row: int) -> str:
        return orjson.dumps(frame.row(row, named=True), default=str).decode()

    lines = np.arange(done + 1, done + 1 + frame.height, dtype=np.int64)
    return RawBatch(frame, lines, raw, (), done_bytes)
