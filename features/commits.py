"""The log of a table of the lake: numbered commits, each there whole or not at all (docs/adr/0016).

`lake/<table>/_log/<number>.json` is one commit. It appears by a hard link of a finished, synced file to the next
number: the link either succeeds for one writer or fails, and the loser takes the number after it.

The log does not grow for ever. A commit with a `base` names every part that was visible before it, and *states* what
else older commits told (`meta["upto"]`, features/watermarks.py); one that follows it may say `meta["cut"]`: up to this
number commits are not needed any more and are being removed. A reader that meets the removal looks again. Any other
number that is missing is `ArtifactCorrupt`.
"""

import hashlib
import json
import os
import re
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

from features.durable import storage_errors, sync_directory, write_synced
from features.errors import ArtifactCorrupt, ReleaseError

PART_NAME: Final = re.compile(r"part-[0-9a-f]{32}\.parquet")
UPTO: Final = "upto"  # in a commit's meta: what the commits before it told of the journal
CUT: Final = "cut"  # in a commit's meta: commits up to this number may be gone
TRIES: Final = 8  # looks at a log that others write to, before what is missing is called damage
PAUSE_S: Final = 0.005
R = TypeVar("R")
_Mark: TypeAlias = tuple[int, int, int]  # inode, size and time of a file


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
        JSON: the keeper's (epoch, partition, end id) for example, and what the log says of itself.
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

    @property
    def file_name(self) -> str:
        """Of its file in the log."""
        return file_name(self.number)

    @property
    def is_statement(self) -> bool:
        """Whether nothing before it need be read, by anybody."""
        return self.base > 0 and UPTO in self.meta


class CommitLog:
    """The log of the table below `directory`, whose contract has `format_version`.

    A commit that was read is kept in memory while its file is the same one, down to the newest base: a keeper that
    looks every second would else read minutes of commits each time.
    """

    def __init__(self, directory: Path, format_version: int) -> None:
        self.directory, self.format_version = directory, format_version
        self._known: dict[int, tuple[_Mark, Commit]] = {}

    @property
    def folder(self) -> Path:
        """Where the commits lie."""
        return self.directory / "_log"

    def last(self) -> int:
        """Number of the latest commit, 0 before the first."""
        return max(self._listed(), default=0)

    def newest(self, until: Callable[[Commit], bool]) -> list[Commit]:
        """Return the newest commits back to the one that `until` says yes to, or all there are, oldest first."""
        found = self._settled(lambda: self._newest(until))
        base = max((commit.number for commit in found if commit.base), default=0)
        for number in list(self._known):
            if number < base:
                self._known.pop(number, None)
        return found

    def above(self, after: int) -> list[Commit]:
        """Return the commits above a number, oldest first; where some of these were cut, from the statement on."""
        return self._settled(lambda: self._above(after))

    def standing(self) -> tuple[list[Commit], int]:
        """Return the commits from the newest statement on (or all), and up to which number the log is cut."""
        commits = self.newest(lambda commit: commit.is_statement)
        return commits, _cut_of(commits)

    def statement_before(self, moment: float) -> int:
        """Return the number of the newest statement written before a moment (Unix seconds), 0 when there is none."""

        def look() -> int:
            for number in reversed(_run(self._listed())):
                if self.path(number).stat().st_mtime <= moment and self.read(number).is_statement:
                    return number
            return 0

        return self._settled(look)

    def removed_since(self, moment: float) -> set[str]:
        """Return the names of parts that commits after a moment (Unix seconds) took from sight."""

        def look() -> set[str]:
            removed: set[str] = set()
            for number in reversed(_run(self._listed())):
                if self.path(number).stat().st_mtime <= moment:
                    break
                removed.update(self.read(number).removed)
            return removed

        return self._settled(look)

    def remove_cut(self) -> list[Path]:
        """Delete the commits that the log says are not needed any more, oldest first; return them."""
        _, cut = self.standing()
        gone = [self.path(number) for number in self._listed() if number <= cut]
        for path in gone:
            path.unlink(missing_ok=True)
        return gone

    def add(self, commit: Commit) -> bool:
        """Make a commit visible; False when another has its number."""
        body = asdict(commit)
        text = commit_text(body)
        final = self.path(commit.number)
        temporary = final.with_name(f"{uuid.uuid4().hex}.tmp")
        with storage_errors(self.directory.parent):
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

    def path(self, number: int) -> Path:
        """Where a commit lies."""
        return self.folder / file_name(number)

    def read(self, number: int) -> Commit:
        """Read one commit; one that is not there is a `FileNotFoundError`, any other trouble `ArtifactCorrupt`."""
        path = self.path(number)
        try:
            if path.is_symlink() or path.parent.is_symlink() or path.parent.parent.is_symlink():
                raise ArtifactCorrupt(str(path), "is reached by a link")
            found = path.stat()
            mark, known = (found.st_ino, found.st_size, found.st_mtime_ns), self._known.get(number)
            if known is not None and known[0] == mark:
                return known[1]
            text = path.read_text("utf-8")
            body = json.loads(text)["commit"]
            if text != commit_text(body) or body["number"] != number:
                raise ArtifactCorrupt(str(path), "is not what was written")
            added = tuple(Part(**part) for part in body.pop("added"))
            commit = Commit(added=added, removed=tuple(body.pop("removed")), **body)
            if not all(PART_NAME.fullmatch(part.name) for part in added):
                raise ArtifactCorrupt(str(path), "names a file that cannot be a part of this table")
            newer = commit.format_version > self.format_version
        except FileNotFoundError:
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ArtifactCorrupt(str(path), f"cannot be read ({type(error).__name__})") from error
        if newer:
            raise ReleaseError(f"{path} was written by a newer Pond; upgrade Pond to read it.")
        self._known[number] = (mark, commit)
        return commit

    def _newest(self, until: Callable[[Commit], bool]) -> list[Commit]:
        listed, found = self._listed(), list[Commit]()
        run = _run(listed)
        for number in reversed(run):
            found.append(self.read(number))
            if until(found[-1]):
                break
        if run and run[0] > _cut_of(found) + 1:  # numbers are missing of which no commit says that they may be
            raise _Gap(str(self.folder), "has a gap in its numbers")
        return found[::-1]

    def _above(self, after: int) -> list[Commit]:
        listed = self._listed()
        run = _run(listed)
        if run and run[0] > after + 1:
            found = self._newest(lambda commit: commit.is_statement)
            start = _cut_of(found) + 1
            return [*map(self.read, range(start, found[0].number)), *found]
        return [self.read(number) for number in run if number > after]

    def _listed(self) -> list[int]:
        try:
            return sorted(int(path.stem) for path in self.folder.iterdir() if path.suffix == ".json")
        except FileNotFoundError:
            return []
        except ValueError as error:
            raise ArtifactCorrupt(str(self.folder), f"holds a file that is no commit ({error})") from error

    def _settled(self, look: Callable[[], R]) -> R:
        """Look again when the log changed under a look: while commits come or go, a listing may miss some of them."""
        for _ in range(TRIES - 1):
            try:
                return look()
            except (FileNotFoundError, _Gap):
                time.sleep(PAUSE_S)
        try:
            return look()
        except FileNotFoundError as error:
            raise ArtifactCorrupt(str(error.filename), "is missing") from error


class _Gap(ArtifactCorrupt):
    """A number is missing, or was when the folder was listed."""


def visible(commits: Iterable[Commit]) -> tuple[Part, ...]:
    """The parts that readers of these commits, in order, see."""
    seen: dict[str, Part] = {}
    for commit in commits:
        for name in commit.removed:
            seen.pop(name, None)
        seen.update({part.name: part for part in commit.added})
    return tuple(seen.values())


def file_name(number: int) -> str:
    """Return the name of a commit's file."""
    return f"{number:020d}.json"


def commit_text(body: Mapping[str, Any]) -> str:
    """Return the text of a commit's file: its body and the digest of that."""
    canonical = json.dumps(body, sort_keys=True, ensure_ascii=False).encode()
    return json.dumps({"digest": digest_of_bytes(canonical), "commit": body}, ensure_ascii=False, indent=1)


def digest_of_bytes(data: bytes) -> str:
    """BLAKE2b-128, in hex."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _run(listed: Sequence[int]) -> list[int]:
    """The numbers that end with the newest and have no gap."""
    first = len(listed)
    while first and listed[first - 1] == listed[-1] - (len(listed) - first):
        first -= 1
    return list(listed[first:])


def _cut_of(commits: Sequence[Commit]) -> int:
    return int(max((commit.meta.get(CUT, 0) for commit in commits), default=0))
