"""The lake: a shop's Parquet tables, changed only by commits that are seen whole or not at all (DESIGN §2).

`lake/<table>/part-<unique>.parquet` holds rows; `lake/<table>/_log/<number>.json` is one commit each. A reader sees
exactly the parts that the commits 1 … n name. A commit file appears by a hard link of a finished, synced file to the
next number: the link either succeeds for one writer or fails, and the loser takes the number after it. What a crash
leaves behind (parts no commit names, `.tmp` files) is never read and is removed by `sweep`.
Every part's size and BLAKE2b stand in its commit, and every commit carries its own; anything else found on disk is
`ArtifactCorrupt` with the file's name.
"""

import hashlib
import io
import json
import os
import re
import stat
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import polars as pl

from features.contracts import Table, table_named
from features.durable import storage_errors, sync_directory, write_synced
from features.errors import ArtifactCorrupt, LakeRewritten, ReleaseError

COMPACTION: Final = "compaction"  # the source of a commit that merges parts
PART_ROWS: Final = 500_000
SMALL_PART_ROWS: Final = PART_ROWS // 2
SWEEP_AFTER_S: Final = 3600.0
PART_NAME: Final = re.compile(r"part-[0-9a-f]{32}\.parquet")


@dataclass(frozen=True, slots=True)
class Part:
    """One Parquet file of a table; `digest` is the BLAKE2b-128 of its bytes."""

    name: str
    rows: int
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class Commit:
    """One entry of a table's log.

    Attributes
    ----------
    number : int
        1, 2, …
    added, removed : tuple of Part, tuple of str
        What readers see from here on, and part names they no longer see.
    base : int
        Commits up to this number need not be read: `added` holds all that was visible then (0: read them).
    format_version : int
        Of the table's contract when the parts were written.
    source : str
        Where the rows came from, for people.
    meta : mapping
        The writer's own, JSON: the keeper's (epoch, partition, end id) for example.
    """

    number: int
    added: tuple[Part, ...]
    removed: tuple[str, ...] = ()
    base: int = 0
    format_version: int = 1
    source: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows in the parts this commit added."""
        return sum(part.rows for part in self.added)


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
        return len(self._numbers(table))

    def parts(self, table: str) -> tuple[Part, ...]:
        """The parts readers see now, in the order of commits."""
        return visible(self.since_base(table))

    def since_base(self, table: str) -> list[Commit]:
        """The newest commits that together name every part readers see, oldest first."""
        commits: list[Commit] = []
        for number in reversed(self._numbers(table)):
            commits.append(self._read_commit(table, number))
            if commits[-1].base:
                break
        return commits[::-1]

    def rows(self, table: str) -> int:
        """Number of committed rows."""
        return sum(part.rows for part in self.parts(table))

    def commits(self, table: str, after: int = 0) -> list[Commit]:
        """The log above a commit's number, oldest first."""
        return [self._read_commit(table, number) for number in self._numbers(table) if number > after]

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
        part = Part(f"part-{uuid.uuid4().hex}.parquet", rows.height, len(data), _digest(data))
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
        version = table_named(table).format_version
        while True:
            number = len(self._numbers(table)) + 1
            commit = Commit(number, tuple(added), format_version=version, source=source, meta=dict(meta or {}))
            if self._try_commit(table, commit):
                return commit

    def commit_next(
        self, table: str, number: int, added: Sequence[Part], *, source: str = "", meta: Mapping[str, Any] | None = None
    ) -> Commit | None:
        """Make written parts visible as commit `number`, or return None when another writer took that number.

        For a writer whose rows depend on all commits before: it reads up to `number - 1` and nothing can slip between.
        """
        version = table_named(table).format_version
        commit = Commit(number, tuple(added), format_version=version, source=source, meta=dict(meta or {}))
        return commit if self._try_commit(table, commit) else None

    def replace_next(
        self, table: str, number: int, visible: Sequence[Part], removed: Sequence[str], *, source: str = "",
        meta: Mapping[str, Any] | None = None,
    ) -> Commit | None:  # fmt: skip
        """Let readers see exactly `visible` from commit `number` on, or return None when that number was taken."""
        version = table_named(table).format_version
        commit = Commit(number, tuple(visible), tuple(removed), number - 1, version, source, dict(meta or {}))
        return commit if self._try_commit(table, commit) else None

    def compact(self, table: str, describe: Describe | None = None) -> Commit | None:
        """Merge small parts into large ones in one commit that also spares readers the older log entries.

        Returns None when there is nothing to merge. Rows keep their order. Merged-away parts stay on disk for readers
        that hold them, until `sweep`. `describe` makes the commit's meta of what each part was made of.
        """
        version = table_named(table).format_version
        while True:
            number = len(self._numbers(table)) + 1
            parts = self.parts(table)
            groups = _groups(parts)
            if len(groups) == len(parts):
                return None
            merged = [group[0] if len(group) == 1 else self._merge(table, group) for group in groups]
            kept = {part.name for part in merged}
            removed = tuple(part.name for part in parts if part.name not in kept)
            made = {part.name: tuple(group) for part, group in zip(merged, groups, strict=True)}
            meta = describe(made) if describe else {}
            commit = Commit(number, tuple(merged), removed, number - 1, version, COMPACTION, meta)
            if self._try_commit(table, commit):
                return commit
            for part in merged:
                if part not in parts:
                    (self.root / table / part.name).unlink(missing_ok=True)

    def sweep(self, table: str, older_than_s: float = SWEEP_AFTER_S) -> list[str]:
        """Remove files no commit names (left by a crash, or merged) that were out of sight longer than a read takes."""
        limit = time.time() - older_than_s
        named = {part.name for part in self.parts(table)} | self._removed_since(table, limit)
        directory, gone = self.root / table, []
        for path in [*directory.glob("*.parquet"), *directory.glob("*.tmp"), *directory.glob("_log/*.tmp")]:
            if path.name not in named and path.stat().st_mtime <= limit:
                path.unlink(missing_ok=True)
                gone.append(path.name)
        return gone

    def _removed_since(self, table: str, moment: float) -> set[str]:
        removed: set[str] = set()
        for number in reversed(self._numbers(table)):
            if self._log_file(table, number).stat().st_mtime <= moment:
                break
            removed.update(self._read_commit(table, number).removed)
        return removed

    def _merge(self, table: str, group: Sequence[Part]) -> Part:
        frame = pl.concat([self.scan_part(table, part).collect() for part in group])
        return self.write_part(table, frame)

    def _numbers(self, table: str) -> list[int]:
        log = self.root / table / "_log"
        try:
            numbers = sorted(int(path.stem) for path in log.iterdir() if path.suffix == ".json")
        except FileNotFoundError:
            return []
        except ValueError as error:
            raise ArtifactCorrupt(str(log), f"holds a file that is no commit ({error})") from error
        if numbers != list(range(1, len(numbers) + 1)):
            raise ArtifactCorrupt(str(log), "has a gap in its numbers")
        return numbers

    def _log_file(self, table: str, number: int) -> Path:
        return self.root / table / "_log" / f"{number:020d}.json"

    def _read_commit(self, table: str, number: int) -> Commit:
        path = self._log_file(table, number)
        try:
            if path.is_symlink() or path.parent.is_symlink() or path.parent.parent.is_symlink():
                raise ArtifactCorrupt(str(path), "is reached by a link")
            text = path.read_text("utf-8")
            stated = json.loads(text)
            body = stated["commit"]
            is_own = stated["digest"] == _digest(_canonical(body)) and text == _commit_text(stated["digest"], body)
            if not is_own or body["number"] != number:
                raise ArtifactCorrupt(str(path), "is not what was written")
            added = tuple(Part(**part) for part in body.pop("added"))
            commit = Commit(added=added, removed=tuple(body.pop("removed")), **body)
            if not all(PART_NAME.fullmatch(part.name) for part in added):
                raise ArtifactCorrupt(str(path), "names a file that cannot be a part of this table")
            newer = commit.format_version > table_named(table).format_version
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ArtifactCorrupt(str(path), f"cannot be read ({type(error).__name__})") from error
        if newer:
            raise ReleaseError(f"{path} was written by a newer Pond; upgrade Pond to read it.")
        return commit

    def _try_commit(self, table: str, commit: Commit) -> bool:
        body = asdict(commit)
        text = _commit_text(_digest(_canonical(body)), body)
        final = self._log_file(table, commit.number)
        temporary = final.with_name(f"{uuid.uuid4().hex}.tmp")
        with storage_errors(self.root):
            final.parent.mkdir(parents=True, exist_ok=True)
            try:
                write_synced(temporary, text.encode())
                sync_directory(final.parent.parent)
                os.link(temporary, final)
            except FileExistsError:
                return False
            finally:
                temporary.unlink(missing_ok=True)
            sync_directory(final.parent)
        return True

    def _verify(self, table: str, part: Part) -> Path:
        path = self.root / table / part.name
        try:
            found = path.lstat()
            if not stat.S_ISREG(found.st_mode):
                raise ArtifactCorrupt(str(path), "is a link or no file at all")
            if found.st_size != part.size:
                raise ArtifactCorrupt(str(path), f"has {found.st_size} bytes instead of {part.size}")
            if part.name not in self._verified and _digest(path.read_bytes()) != part.digest:
                raise ArtifactCorrupt(str(path), "is not what was written")
        except FileNotFoundError as error:
            if part not in self.parts(table):
                raise LakeRewritten(table) from error
            raise ArtifactCorrupt(str(path), "is missing") from error
        except OSError as error:
            raise ArtifactCorrupt(str(path), f"cannot be read ({error.strerror})") from error
        self._verified.add(part.name)
        return path


def visible(commits: Sequence[Commit]) -> tuple[Part, ...]:
    """The parts that readers of these commits, in order, see."""
    seen: dict[str, Part] = {}
    for commit in commits:
        for name in commit.removed:
            seen.pop(name, None)
        seen.update({part.name: part for part in commit.added})
    return tuple(seen.values())


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


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _canonical(body: Any) -> bytes:
    return json.dumps(body, sort_keys=True, ensure_ascii=False).encode()


def _commit_text(digest: str, body: Any) -> str:
    return json.dumps({"digest": digest, "commit": body}, ensure_ascii=False, indent=1)
