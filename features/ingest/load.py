"""`ingest_file`: one file into one table of a shop's lake, in one commit."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import polars as pl

from features import columns as c
from features.arrays import UInt8s
from features.contracts import FROM_FILES, Table, table_named
from features.erasure import Erased, read_erased
from features.errors import UsageError
from features.ingest.csv_rows import csv_batches
from features.ingest.event_ids import EventNamer
from features.ingest.forgotten import without_erased, without_erased_texts
from features.ingest.json_rows import json_batches
from features.ingest.known import Found, KnownRows, hashes_of, known_in_lake, latest_in_lake
from features.ingest.mapping import TableMapping
from features.ingest.parquet_rows import parquet_batches
from features.ingest.rejects import RejectWriter
from features.ingest.rows import RowReader
from features.ingest.source import RawBatch, Reject, format_of
from features.ingest.times import TimeReader
from features.lake import Lake
from features.lake_rewrite import INGEST_LOCK, held
from features.shop import Shop

Progress: TypeAlias = Callable[[int, int], None]
MAX_REASONS: Final = 1_000


@dataclass(frozen=True)
class IngestReport:
    """What became of the rows of a file.

    Attributes
    ----------
    accepted, duplicates, rejected : int
        New rows in the lake; rows known already with the same content; rows in `rejects_file`. Their sum, with
        `erased`, is the file.
    erased : int
        Rows of customers who were erased on request: left out, and kept nowhere.
    rejects_file : Path or None
        JSON lines {line, reason, row}.
    reasons : mapping
        Reason → number of rows, most frequent first.
    notes : tuple of str
        What was assumed, in sentences.
    """

    table: str
    file: Path
    accepted: int
    duplicates: int
    rejected: int
    rejects_file: Path | None
    reasons: Mapping[str, int]
    notes: tuple[str, ...]
    erased: int = 0


def ingest_file(
    shop: Shop, table: str, path: Path, mapping: TableMapping | None = None, progress: Progress | None = None,
    now: int | None = None,
) -> IngestReport:  # fmt: skip
    """Read a CSV, JSONL (plain or .gz) or Parquet file into the lake.

    Accepted rows become visible together when the whole file has been read; when anything stops it (an unreadable
    file, a full disk) the lake is as it was. Memory does not grow with the file but for 8 to 24 bytes a row.

    Parameters
    ----------
    progress
        Called with (bytes read, bytes in all) after each batch.
    now : int
        UTC µs, default the clock: from when a *changed* catalogue or customer row without `valid_from` holds. The first
        such row of an id holds since ever (null).

    Raises
    ------
    ContractError, UnreadableFile
        About the file as a whole: nothing of it was taken.
    StorageFull
        Nothing was changed.
    """
    contract = table_named(table)
    if table not in FROM_FILES:
        raise UsageError(f"The table {table} is written by Pond itself; ingest one of {', '.join(FROM_FILES)}.")
    kind = format_of(path)
    moment = time.time_ns() // 1_000 if now is None else now
    lake = Lake(shop.lake_dir)
    stamp = datetime.fromtimestamp(time.time(), UTC).strftime("%Y%m%dT%H%M%S%f")
    rejects = RejectWriter(shop.rejects_dir, f"{table}-{stamp}")
    size = path.stat().st_size
    # One file of a table at a time: two would find each other's rows unknown. Whom the shop has erased is read under
    # the same lock, so that an erasure either finds this file's rows in the lake or is seen here.
    with held(lake.root / table / INGEST_LOCK), lake.writer(table) as writer:
        load = _Load(contract, path, mapping or TableMapping(), shop.timezone, moment, lake)
        load.erased = read_erased(shop)
        try:
            for batch in load.batches(kind):
                frame, bad = load.take(batch)
                rejects.write(bad)
                writer.write(frame)
                if progress:
                    progress(batch.done_bytes, size)
            accepted, rejected = writer.rows, rejects.count
            rejects_file = rejects.close()
            writer.commit(path.name)
        except BaseException:
            rejects.discard()
            raise
    reasons = dict(rejects.reasons.most_common(MAX_REASONS))
    return IngestReport(
        table, path, accepted, load.duplicates, rejected, rejects_file, reasons, load.notes(), load.n_erased
    )


class _Load:
    """The state of one file's way in."""

    def __init__(self, table: Table, path: Path, mapping: TableMapping, timezone: str, now: int, lake: Lake) -> None:
        self._table, self._path, self._mapping, self._now, self._lake = table, path, mapping, now, lake
        self._times = TimeReader(timezone, mapping.time_unit)
        self._rows = RowReader(table, mapping, self._times, path.name, is_open=format_of(path) == "jsonl")
        self._namer = EventNamer()
        self._known: KnownRows | None = None
        self._latest = KnownRows()
        self._undated = KnownRows()
        self._made_ids = False
        self._with_content = True
        self.duplicates = 0
        self.erased = Erased()
        self.n_erased = 0

    def batches(self, kind: str) -> Iterator[RawBatch]:
        """Read the file."""
        if kind == "csv":
            return csv_batches(self._path, self._mapping.separator, self._mapping.encoding)
        if kind == "parquet":
            return parquet_batches(self._path)
        return json_batches(
            self._path, self._mapping.encoding, lambda names: set(self._mapping.sources(self._table, names).values())
        )

    def take(self, batch: RawBatch) -> tuple[pl.DataFrame, list[Reject]]:
        """Return the rows of a batch that are new, and those that are rejected."""
        typed = self._rows.read(batch.frame)
        frame, good, left_out = without_erased(typed, self.erased)
        self.n_erased += int(left_out.sum())
        rejects = list(batch.broken)
        if not (good | left_out).all():
            rows = (~(good | left_out)).arg_true().to_list()
            rejects += [Reject(int(batch.lines[r]), typed.reasons[r], batch.raw(r)) for r in rows]
        places = good.arg_true().to_numpy()
        rejects = without_erased_texts(rejects, self.erased)
        frame = frame.filter(good)
        if not frame.height:
            return frame, rejects
        if self._known is None:
            self._index()
        frame, found = self._compare(frame)
        self.duplicates += int((found == Found.same).sum())
        for row in np.flatnonzero(found == Found.different).tolist():
            place = int(places[row])
            rejects.append(Reject(int(batch.lines[place]), self._contradiction(), batch.raw(place)))
        return frame.filter(pl.Series(found == Found.new)), rejects

    def _contradiction(self) -> str:
        return f"another row has the same {' and '.join(self._table.key)} but different content"

    def _index(self) -> None:
        """Read from the lake what this file can repeat; ids made from the content need no content to compare."""
        if self._table.name == "events":
            self._with_content = self._rows.may_have(c.EVENT_ID)
        self._known = known_in_lake(self._lake, self._table, with_content=self._with_content)
        if self._table.is_versioned:
            self._latest = latest_in_lake(self._lake, self._table)

    def _compare(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, UInt8s]:
        known = self._known or KnownRows()
        if self._table.name == "events":
            frame = self._named(frame)
        if not self._table.is_versioned:
            return frame, known.admit(hashes_of(frame, self._table.key, with_content=self._with_content))
        undated = frame[c.VALID_FROM].is_null().to_numpy()
        found = np.zeros(frame.height, np.uint8)
        dated_rows, rows = np.flatnonzero(~undated), np.flatnonzero(undated)
        hashes = hashes_of(frame, self._table.key)
        found[dated_rows] = known.admit(hashes.take(dated_rows))
        by_id = hashes_of(frame.select(self._table.key[0]), (self._table.key[0],), with_content=False)
        by_id = type(by_id)(by_id.key, by_id.check, hashes.content)
        found[rows] = self._undated.admit(by_id.take(rows))
        before = self._latest.find(by_id)
        found[undated & (found == Found.new) & (before == Found.same)] = Found.same
        changed = pl.Series(undated & (before == Found.different))
        at = pl.when(changed).then(pl.lit(self._now)).otherwise(c.VALID_FROM).alias(c.VALID_FROM)
        return frame.with_columns(at), found

    def _named(self, frame: pl.DataFrame) -> pl.DataFrame:
        lacks = frame[c.EVENT_ID].is_null()
        if not lacks.any():
            return frame
        self._made_ids = True
        made = self._namer.ids(frame.filter(lacks))
        if lacks.all():
            return frame.with_columns(made)
        every = np.array(frame[c.EVENT_ID].to_list(), dtype=object)
        every[lacks.to_numpy()] = made.to_list()
        return frame.with_columns(pl.Series(c.EVENT_ID, every.tolist(), dtype=pl.String))

    def notes(self) -> tuple[str, ...]:
        """What was assumed about the file."""
        out = []
        if self._rows.kept_aside:
            names = ", ".join(sorted(self._rows.kept_aside))
            out.append(f"The file's own columns are kept in {self._table.extras}: {names}.")
        if self._rows.left_out:
            names = ", ".join(sorted(self._rows.left_out))
            out.append(f"These columns are not of {self._table.name} and were not read: {names}.")
        if self._times.unit and not self._times.stated:
            name = {"s": "seconds", "ms": "milliseconds", "us": "microseconds"}[self._times.unit]
            out.append(f"Times written as numbers were read as {name} since 1970.")
        if self._times.saw_naive:
            out.append(f"Times without an offset were read in {self._times.timezone}.")
        if self._made_ids:
            out.append("Events without event_id were named by their content.")
        return tuple(out)
