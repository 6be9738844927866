"""The lake: a shop's Parquet tables, changed only by commits that are seen whole or not at all (DESIGN §2).

`lake/<table>/part-<unique>.parquet` holds rows; a reader sees exactly the parts that the table's log names, commit by
commit (features/commits.py). What a crash leaves behind (parts no commit names, `.tmp` files) is never read and is
removed by `sweep`.
Every part's size and BLAKE2b stand in its commit, and every commit carries its own; anything else found on disk is
`ArtifactCorrupt` with the file's name.
"""

import io
import stat
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

import polars as pl

from features.commits import CUT, Commit, CommitLog, Part, digest_of_bytes, visible
from features.contracts import Table, table_named
from features.durable import storage_errors, write_synced
from features.errors import ArtifactCorrupt, LakeRewritten
from features.watermarks import stated

COMPACTION: Final = "compaction"  # the source of a commit that merges parts
PART_ROWS: Final = 500_000
SMALL_PART_ROWS: Final = PART_ROWS // 2
SWEEP_AFTER_S: Final = 3600.0


# From what each part of a compaction was made of to the commit's meta.
Describe: TypeAlias = Callable[[Mapping[str, tuple[Part, ...]]], Mapping[str, Any]]


class PartWriter:
    """Writes rows of one table to parts that nobody sees until `commit`."""

    def __init__(self, lake: "Lake", table: Table) -> None:
        self._lake, self._table = lake, table
        self._parts: list[Part] = []
        self._waiting: list[pl.DataFrame] = []
        self.rows = 0

    def write(self, frame: pl.DataFrame) -> None:
        """Add rows; the frame has exactly the columns and types of the contract."""
        if frame.schema != self._table.schema:
            raise ValueError(f"{self._table.name}: rows must have the schema {self._table.schema}, not {frame.schema}")
        if frame.height:
            self._waiting.append(frame)
            self.rows += frame.height
        if sum(f.height for f in self._waiting) >= PART_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            rows = pl.concat(self._waiting)
            self._waiting = []
            self._parts.append(self._lake.write_part(self._table.name, rows))

    def commit(self, source: str = "", meta: Mapping[str, Any] | None = None) -> Commit | None:
        """Make all rows visible in one step; None when there is nothing to commit (no rows and no meta)."""
        self._flush()
        if not self._parts and not meta:
            return None
        parts, self._parts = self._parts, []
        return self._lake.commit(self._table.name, parts, source=source, meta=meta)

    def discard(self) -> None:
        """Remove the parts of rows that were not committed."""
        for part in self._parts:
            (self._lake.root / self._table.name / part.name).unlink(missing_ok=True)
        self._parts, self._waiting = [], []


class Lake:
    """The tables under one directory; any number of readers and writers, in any number of processes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._verified: set[str] = set()
        self._logs: dict[str, CommitLog] = {}

    def scan(self, table: str) -> pl.LazyFrame:
        """Return all committed rows, in the order of commits, with exactly the columns and types of the contract.

        Each part is compared with its recorded digest once per `Lake` (about 1 GB/s), so damage shows here.
        """
        return self._scanned(table, self.parts(table))

    def _scanned(self, table: str, parts: Sequence[Part]) -> pl.LazyFrame:
        contract = table_named(table)
        if not parts:
            return contract.empty().lazy()
        paths = [self._verify(table, part) for part in parts]
        return pl.scan_parquet(paths, schema=contract.schema, glob=False, missing_columns="insert")

    def batches(self, table: str, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield the committed rows part by part: memory is bounded by one part."""
        for part in self.parts(table):
            yield self.scan_part(table, part).select(columns).collect()

    def scan_part(self, table: str, part: Part) -> pl.LazyFrame:
        """Return the rows of one part, with the columns and types of the contract."""
        return self._scanned(table, [part])

    def last_number(self, table: str) -> int:
        """Number of the latest commit, 0 before the first."""
        return self._log(table).last()

    def parts(self, table: str) -> tuple[Part, ...]:
        """The parts readers see now, in the order of commits."""
        return visible(self.since_base(table))

    def since_base(self, table: str) -> list[Commit]:
        """The newest commits that together name every part readers see, oldest first."""
        return self._log(table).newest(lambda commit: commit.base > 0)

    def rows(self, table: str) -> int:
        """Number of committed rows."""
        return sum(part.rows for part in self.parts(table))

    def commits(self, table: str, after: int = 0) -> list[Commit]:
        """The log above a commit's number, oldest first.

        Where some of it was cut, it begins with the commit that states what those before it told.
        """
        return self._log(table).above(after)

    def append(
        self, table: str, rows: pl.DataFrame, *, source: str = "", meta: Mapping[str, Any] | None = None
    ) -> Commit | None:
        """Add rows in one commit."""
        with self.writer(table) as writer:
            writer.write(rows)
            return writer.commit(source, meta)

    @contextmanager
    def writer(self, table: str) -> Iterator[PartWriter]:
        """Open a writer; what it has not committed when the block ends is discarded."""
        writer = PartWriter(self, table_named(table))
        try:
            yield writer
        finally:
            writer.discard()

    def write_part(self, table: str, rows: pl.DataFrame) -> Part:
        """Write rows to a new part that no commit names yet."""
        buffer = io.BytesIO()
        rows.write_parquet(buffer, compression="zstd")
        data = buffer.getvalue()
        part = Part(f"part-{uuid.uuid4().hex}.parquet", rows.height, len(data), digest_of_bytes(data))
        with storage_errors(self.root):
            directory = self.root / table
            (directory / "_log").mkdir(parents=True, exist_ok=True)
            write_synced(directory / part.name, data)
        self._verified.add(part.name)
        return part

    def commit(
        self, table: str, added: Sequence[Part], *, source: str = "", meta: Mapping[str, Any] | None = None
    ) -> Commit:
        """Make written parts visible in one step, on top of whatever others committed meanwhile."""
        while True:
            commit = self.commit_next(table, self.last_number(table) + 1, added, source=source, meta=meta)
            if commit is not None:
                return commit

    def commit_next(
        self, table: str, number: int, added: Sequence[Part], *, source: str = "", meta: Mapping[str, Any] | None = None
    ) -> Commit | None:
        """Make written parts visible as commit `number`, or return None when another writer took that number.

        For a writer whose rows depend on all commits before: it reads up to `number - 1` and nothing can slip between.
        """
        log = self._log(table)
        commit = Commit(
            number, tuple(added), format_version=log.format_version, source=source, meta=dict(meta or {})
        )  # fmt: skip
        return commit if log.add(commit) else None

    def replace_next(
        self, table: str, number: int, visible: Sequence[Part], removed: Sequence[str], *, source: str = "",
        meta: Mapping[str, Any] | None = None,
    ) -> Commit | None:  # fmt: skip
        """Let readers see exactly `visible` from commit `number` on, or return None when that number was taken."""
        log = self._log(table)
        said = {**(meta or {}), **_statement(log)}
        commit = Commit(number, tuple(visible), tuple(removed), number - 1, log.format_version, source, said)
        return commit if log.add(commit) else None

    def compact(
        self, table: str, describe: Describe | None = None, *, restate: bool = False, cut_after_s: float = SWEEP_AFTER_S
    ) -> Commit | None:  # fmt: skip
        """Merge small parts into large ones in one commit that also spares readers the older log entries.

        Returns None when there is nothing to merge, unless it shall `restate` what there is. Rows keep their order.
        Merged-away parts stay on disk for readers that hold them, until `sweep`; so do log entries that a statement
        older than `cut_after_s` made superfluous. `describe` makes the commit's meta of what each part was made of.
        """
        log = self._log(table)
        while True:
            number = log.last() + 1
            parts = self.parts(table)
            groups = _groups(parts)
            if number == 1 or (len(groups) == len(parts) and not restate):
                return None
            merged = [group[0] if len(group) == 1 else self._merge(table, group) for group in groups]
            kept = {part.name for part in merged}
            removed = tuple(part.name for part in parts if part.name not in kept)
            made = {part.name: tuple(group) for part, group in zip(merged, groups, strict=True)}
            meta = {**(describe(made) if describe else {}), **_statement(log, time.time() - cut_after_s)}
            commit = Commit(number, tuple(merged), removed, number - 1, log.format_version, COMPACTION, meta)
            if log.add(commit):
                return commit
            for part in merged:
                if part not in parts:
                    (self.root / table / part.name).unlink(missing_ok=True)

    def sweep(self, table: str, older_than_s: float = SWEEP_AFTER_S) -> list[str]:
        """Remove files no commit names (left by a crash, or merged) that were out of sight longer than a read takes.

        And log entries that were cut.
        """
        limit, log = time.time() - older_than_s, self._log(table)
        named = {part.name for part in self.parts(table)} | log.removed_since(limit)
        directory, gone = self.root / table, [path.name for path in log.remove_cut()]
        for path in [*directory.glob("*.parquet"), *directory.glob("*.tmp"), *directory.glob("_log/*.tmp")]:
            if path.name not in named and path.stat().st_mtime <= limit:
                path.unlink(missing_ok=True)
                gone.append(path.name)
        return gone

    def _merge(self, table: str, group: Sequence[Part]) -> Part:
        frame = pl.concat([self.scan_part(table, part).collect() for part in group])
        return self.write_part(table, frame)

    def _log(self, table: str) -> CommitLog:
        if table not in self._logs:
            self._logs[table] = CommitLog(self.root / table, table_named(table).format_version)
        return self._logs[table]

    def _verify(self, table: str, part: Part) -> Path:
        path = self.root / table / part.name
        try:
            found = path.lstat()
            if not stat.S_ISREG(found.st_mode):
                raise ArtifactCorrupt(str(path), "is a link or no file at all")
            if found.st_size != part.size:
                raise ArtifactCorrupt(str(path), f"has {found.st_size} bytes instead of {part.size}")
            if part.name not in self._verified and digest_of_bytes(path.read_bytes()) != part.digest:
                raise ArtifactCorrupt(str(path), "is not what was written")
        except FileNotFoundError as error:
            if part not in self.parts(table):
                raise LakeRewritten(table) from error
            raise ArtifactCorrupt(str(path), "is missing") from error
        except OSError as error:
            raise ArtifactCorrupt(str(path), f"cannot be read ({error.strerror})") from error
        self._verified.add(part.name)
        return path


def _statement(log: CommitLog, before: float | None = None) -> dict[str, Any]:
    """What a commit says that has a base: what older ones told, and up to where the log is cut.

    With `before` (Unix seconds) up to the newest statement that was written before then; else as it was.
    """
    commits, cut = log.standing()
    if before is not None:
        cut = max(cut, log.statement_before(before) - 1)
    return stated(commits) | ({CUT: cut} if cut else {})


def _groups(parts: Sequence[Part]) -> list[list[Part]]:
    """Neighbouring parts to be merged into one, in order; a large part stays alone."""
    groups: list[list[Part]] = []
    for part in parts:
        last = groups[-1] if groups else []
        if last and part.rows < SMALL_PART_ROWS and sum(p.rows for p in last) + part.rows <= PART_ROWS:
            last.append(part)
        else:
            groups.append([part])
    return groups
