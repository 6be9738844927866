"""Rewriting a table of the lake without some rows, so that nothing of them stays on disk (erasure).

Who may write a table is told by two locks: `.ingest.lock` of the table, held while a file is read in, and
`.journal.lock` of the lake, held while a drain commits. With both in hand no row is on its way, so parts that no commit
names are leftovers and go too. The rewrite is a commit even when no row matched: a drain that read the journal before
finds its number taken and reads again (`service/drain.py`).
"""

import fcntl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from features.commits import Part
from features.durable import storage_errors, sync_directory
from features.lake import Lake
from features.lineage import Segment, lineage, narrowed, of_parts, states
from features.person import Person

INGEST_LOCK: Final = ".ingest.lock"
JOURNAL_LOCK: Final = ".journal.lock"


@dataclass(frozen=True, slots=True)
class Rewritten:
    """Rows removed, other people's rows changed, files deleted."""

    removed: int = 0
    changed: int = 0
    files: int = 0


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a lock file (made when missing) while the block runs."""
    with storage_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def rewrite_without(lake: Lake, table: str, person: Person, *, fence: bool) -> Rewritten:
    """Remove a person's rows and other rows' mention of him; with `fence` commit even when there is nothing to remove.

    Returns when no file of the table holds the old rows any more. A reader that has looked the parts up but not yet
    opened them is told that the lake was rewritten.
    """
    directory = lake.root / table
    with held(directory / INGEST_LOCK), held(lake.root / JOURNAL_LOCK):
        while True:
            there = [*directory.glob("*.parquet"), *directory.glob("*.tmp"), *directory.glob("_log/*.tmp")]
            number, parts = lake.last_number(table) + 1, lake.parts(table)
            if not parts and not fence:
                return Rewritten(files=_delete(directory, there, set()))
            known = lineage(lake.since_base(table))
            done = [_without(lake, table, part, person, known) for part in parts]
            kept = [one.part for one in done if one.part is not None]
            names = {part.name for part in kept}
            old = tuple(part.name for part in parts if part.name not in names)
            wanted = bool(old) or fence
            meta = states({one.part.name: one.segments for one in done if one.part is not None})
            if wanted and lake.replace_next(table, number, kept, old, source="erasure", meta=meta) is None:
                for part in set(kept) - set(parts):
                    (directory / part.name).unlink(missing_ok=True)
                continue
            files = _delete(directory, there, names)
            counts = [one.done for one in done]
            return Rewritten(sum(c.removed for c in counts), sum(c.changed for c in counts), files)


@dataclass(frozen=True, slots=True)
class _Kept:
    """What takes a part's place (None: no row is left), where its rows came from, and what was done to it."""

    part: Part | None
    segments: Sequence[Segment]
    done: Rewritten = Rewritten()


def _without(
    lake: Lake, table: str, part: Part, person: Person, known: Mapping[str, Sequence[Segment]]
) -> _Kept:  # fmt: skip
    rows, segments = lake.scan_part(table, part), of_parts([part], known)
    if not rows.filter(person.mentions(rows)).head(1).collect().height:
        return _Kept(part, segments)
    frame = rows.collect()
    stays = frame.select(stays=~person.own(frame))["stays"]
    if len(stays) < frame.height:  # an expression without a column is one value for all rows
        stays = pl.repeat(stays[0], frame.height, eager=True)
    others = frame.filter(stays)
    clean = person.unnamed(others)
    changed = clean.hash_rows() != others.hash_rows()
    done = Rewritten(frame.height - others.height, int(changed.sum()))
    if not done.removed and not done.changed:
        return _Kept(part, segments, done)
    left = narrowed(segments, stays.to_list())
    return _Kept(lake.write_part(table, clean) if clean.height else None, left, done)


def _delete(directory: Path, there: list[Path], names: set[str]) -> int:
    """Delete what stood in a table's directory before and is not named any more."""
    gone = [path for path in there if path.name not in names]
    for path in gone:
        path.unlink(missing_ok=True)
    if gone:
        sync_directory(directory)
    return len(gone)
