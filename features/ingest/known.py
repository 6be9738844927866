"""What is known: finds rows whose key stands in the lake or earlier in the file, in 24 bytes a row.

Keys and contents are compared by Polars' 64-bit hashes, which hold within one process and are never stored. A key has
two independent ones, so that a chance match of keys (2⁻¹²⁸) cannot lose a row.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import polars as pl

from features import columns as c
from features.arrays import Bools, UInt8s, UInt64s
from features.contracts import Table
from features.lake import Lake


class Found(IntEnum):
    """How a row stands to what is known."""

    new = 0
    same = 1
    different = 2


@dataclass(frozen=True)
class Hashes:
    """Of each row: two hashes of its key and one of its content, uint64 [n] each."""

    key: UInt64s
    check: UInt64s
    content: UInt64s

    def take(self, rows: "Bools | np.ndarray[tuple[int], np.dtype[np.int64]]") -> "Hashes":
        """Return some rows."""
        return Hashes(self.key[rows], self.check[rows], self.content[rows])


class KnownRows:
    """A growing set of keys with their content."""

    def __init__(self) -> None:
        self._runs: list[Hashes] = []

    def add(self, rows: Hashes) -> None:
        """Remember rows (keys not known yet)."""
        if not len(rows.key):
            return
        self._runs.append(rows.take(np.argsort(rows.key, kind="stable")))
        while len(self._runs) > 1 and len(self._runs[-2].key) < 2 * len(self._runs[-1].key):
            last, before = self._runs.pop(), self._runs.pop()
            both = [
                np.concatenate(pair)
                for pair in ((before.key, last.key), (before.check, last.check), (before.content, last.content))
            ]
            order = np.argsort(both[0], kind="stable")
            self._runs.append(Hashes(both[0][order], both[1][order], both[2][order]))

    def find(self, rows: Hashes) -> UInt8s:
        """Say of each row whether its key is known and whether with the same content: `Found` [n]."""
        found = np.zeros(len(rows.key), np.uint8)
        for run in self._runs:
            at = np.minimum(np.searchsorted(run.key, rows.key), len(run.key) - 1)
            hit = (run.key[at] == rows.key) & (run.check[at] == rows.check)
            same = run.content[at] == rows.content
            found[hit] = np.where(same[hit], Found.same, Found.different)
        return found

    def admit(self, rows: Hashes) -> UInt8s:
        """`find`, also against earlier rows of the same batch; what is new is remembered."""
        found = self.find(rows)
        fresh = np.flatnonzero(found == Found.new)
        _, first, inverse = np.unique(rows.key[fresh], return_index=True, return_inverse=True)
        of_first = fresh[first[inverse]]
        later = fresh[of_first != fresh]
        origin = of_first[of_first != fresh]
        found[later] = np.where(rows.content[later] == rows.content[origin], Found.same, Found.different)
        self.add(rows.take(np.flatnonzero(found == Found.new)))
        return found


def hashes_of(frame: pl.DataFrame, key: tuple[str, ...], *, with_content: bool = True) -> Hashes:
    """Hash the rows of a table; content is everything but the key (zero when not asked for)."""
    keys = frame.select(key)
    content = np.zeros(frame.height, np.uint64)
    if with_content:
        rest = frame.select(pl.exclude(key))
        content = _hashed(rest, 3)
    return Hashes(_hashed(keys, 1), _hashed(keys, 2), content)


def _hashed(frame: pl.DataFrame, seed: int) -> UInt64s:
    out = np.full(frame.height, seed, np.uint64)
    for number, series in enumerate(frame):
        cells = series.list.join("\x00") if isinstance(series.dtype, pl.List) else series
        out = out * np.uint64(0x9E3779B97F4A7C15) + cells.hash(seed * 1_000 + number).to_numpy()
        out ^= out >> np.uint64(29)
    return out


def known_in_lake(lake: Lake, table: Table, *, with_content: bool) -> KnownRows:
    """Index the committed rows of a table by its key; memory: 24 bytes a row and one part of the lake."""
    known = KnownRows()
    names = table.schema.names() if with_content else list(table.key)
    for frame in lake.batches(table.name, names):
        known.add(hashes_of(frame, table.key, with_content=with_content))
    return known


def latest_in_lake(lake: Lake, table: Table) -> KnownRows:
    """Index the last version of each thing by its id alone."""
    name, frames = table.key[0], []
    for frame in lake.batches(table.name, table.schema.names()):
        content = hashes_of(frame, table.key).content
        frames.append(frame.select(name, pl.col(c.VALID_FROM).fill_null(0)).with_columns(pl.Series("content", content)))
    known = KnownRows()
    if frames:
        last = pl.concat(frames).sort(c.VALID_FROM, maintain_order=True).unique(name, keep="last", maintain_order=True)
        ids = hashes_of(last.select(name), (name,), with_content=False)
        known.add(Hashes(ids.key, ids.check, last["content"].to_numpy()))
    return known
