"""Event ids for files that have none: the hash of a row's content and of its count among identical rows (DESIGN §2).

Equal rows get equal ids whatever file, batch or column order they come in, so a second load adds nothing and an
overlapping export adds only what is new; two identical lines of one file are told apart by their count.
"""

import hashlib

import numpy as np
import polars as pl

from features import columns as c
from features.arrays import Int64s, UInt64s
from features.contracts import EVENTS


class EventNamer:
    """Gives ids to the rows of one file; remembers 8 bytes a row."""

    def __init__(self) -> None:
        self._runs: list[UInt64s] = []

    def ids(self, rows: pl.DataFrame) -> pl.Series:
        """128-bit BLAKE2b in hex, one for each row, in file order."""
        digests = [hashlib.blake2b(text.encode(), digest_size=16).digest() for text in content_texts(rows).to_list()]
        short = np.frombuffer(b"".join(digests), np.uint64)[::2]
        counts = self._counts(np.ascontiguousarray(short))
        names = [digest.hex() for digest in digests]
        for row in np.flatnonzero(counts).tolist():
            again = digests[row] + int(counts[row]).to_bytes(8, "little")
            names[row] = hashlib.blake2b(again, digest_size=16).hexdigest()
        return pl.Series(c.EVENT_ID, names, dtype=pl.String)

    def _counts(self, keys: UInt64s) -> Int64s:
        """How many equal keys came before each, in this batch and in earlier ones."""
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        first = np.searchsorted(ordered, ordered, side="left")
        before = np.arange(len(keys), dtype=np.int64) - first
        for run in self._runs:
            before += np.searchsorted(run, ordered, side="right") - np.searchsorted(run, ordered, side="left")
        counts = np.empty(len(keys), np.int64)
        counts[order] = before
        self._runs.append(ordered)
        while len(self._runs) > 1 and len(self._runs[-2]) < 2 * len(self._runs[-1]):
            last = self._runs.pop()
            self._runs[-1] = np.sort(np.concatenate([self._runs[-1], last]), kind="stable")
        return counts


def content_texts(rows: pl.DataFrame) -> pl.Series:
    """Each row's content as one text: the contract's columns but event_id, floats by their bits, joined by NUL."""
    parts = []
    for name, kind in EVENTS.schema.items():
        if name == c.EVENT_ID:
            continue
        cells = rows[name]
        if kind == pl.Float64:
            bits = pl.Series(name, (cells.fill_null(0).to_numpy() + 0.0).view(np.int64))
            cells = bits.set(cells.is_null(), None)
        parts.append(cells.cast(pl.String).fill_null(""))
    return pl.DataFrame(parts).select(pl.concat_str(pl.all(), separator="\x00").alias("text"))["text"]
