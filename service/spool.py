"""The spool: decisions made while the state server was away, on disk before they were answered (DESIGN §4, step 10).

Each worker appends to a file of its own and holds its lock; when the state server is back, any worker replays files
whose lock is free. A replayed decision is idempotent by its id, so a replay broken off in the middle and begun again
still leaves each decision in the journal once.
"""

import asyncio
import os
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from fcntl import LOCK_EX, LOCK_NB, flock
from io import FileIO
from pathlib import Path
from typing import Any, Final, TypeAlias

import orjson
import structlog

from features.durable import write_synced
from features.errors import ServiceUnreachable, StorageFull
from features.person import Person

SUFFIX: Final = ".spool"
REPLAYED_SECONDS: Final = 30.0
Log: TypeAlias = Callable[[str, Mapping[str, Any]], Awaitable[None]]


class Spool:
    """One worker's spool below a directory that all workers share."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file: FileIO | None = None
        self._lock = threading.Lock()
        self._log = structlog.get_logger("pond.service")

    async def append(self, shop: str, row: Mapping[str, Any]) -> None:
        """Keep a decision; when this returns it is on the disk. A full disk is `StorageFull`."""
        await asyncio.to_thread(self._append, orjson.dumps({"shop": shop, "row": row}) + b"\n")

    def _append(self, line: bytes) -> None:
        with self._lock:
            try:
                file, left = self._file or self._opened(), memoryview(line)
                while left:
                    left = left[file.write(left) :]
                os.fsync(file.fileno())
            except OSError as error:
                # What was half-written must not be taken for the beginning of the next line.
                self._close()
                raise StorageFull("A decision cannot be kept: the disk is full; free some space.") from error

    def _opened(self) -> FileIO:
        # Without a buffer: what did not fit would be written at the close, which would then fail and never be done.
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = (self._directory / f"{uuid.uuid4().hex}{SUFFIX}").open("ab", buffering=0)
        flock(file, LOCK_EX | LOCK_NB)
        folder = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._file = file
        return file

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def close(self) -> None:
        """Let go of this worker's file; its content stays for a later replay."""
        with self._lock:
            self._close()

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits, this worker's or another's."""
        return not self._directory.is_dir() or not any(self._directory.glob(f"*{SUFFIX}"))

    async def replay(self, log: Log) -> int:
        """Put what waits into the journal with `log(shop, row)`, and return how many decisions that were.

        An error of `log` leaves the file for another time.
        """
        if self.is_empty:
            return 0
        await asyncio.to_thread(self.close)
        return sum([await self._replay_file(path, log) for path in sorted(self._directory.glob(f"*{SUFFIX}"))])

    async def _replay_file(self, path: Path, log: Log) -> int:
        try:
            file = path.open("rb")
        except FileNotFoundError:  # another worker has just replayed it
            return 0
        with file:
            try:
                flock(file, LOCK_EX | LOCK_NB)
            except BlockingIOError:  # its worker lives and still writes to it
                return 0
            lines = file.read().split(b"\n")
            if lines.pop():
                # Without its end it never reached the disk whole, so it was never answered either.
                self._log.warning("spool_torn_line", file=path.name)
            for line in lines:
                kept = orjson.loads(line)
                await log(kept["shop"], kept["row"])
            await asyncio.to_thread(path.unlink, missing_ok=True)
            return len(lines)


def clean_spool(directory: Path, shop: str, person: Person) -> int:
    """Take a person's decisions out of the spools of a shop, and return how many lines that were.

    A file whose worker lives is replayed by it as soon as the state server answers, and then gone: this waits for it.
    """
    gone, deadline = 0, time.monotonic() + REPLAYED_SECONDS
    for path in sorted(directory.glob(f"*{SUFFIX}")):
        while (done := _clean_file(path, shop, person)) is None:
            if time.monotonic() > deadline:
                raise ServiceUnreachable(
                    "Decisions still wait in the spool of a running worker; run the command again."
                )
            time.sleep(0.05)
        gone += done
    return gone


def _clean_file(path: Path, shop: str, person: Person) -> int | None:
    """Rewrite a spool nobody writes to; None while somebody does."""
    try:
        file = path.open("rb")
    except FileNotFoundError:  # it has just been replayed
        return 0
    with file:
        try:
            flock(file, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            return None
        lines = file.read().split(b"\n")
        kept = [line for line in lines if not _is_about(line, shop, person)]
        if len(kept) < len(lines) and path.exists():
            write_synced(path, b"\n".join(kept))
        return len(lines) - len(kept)


def _is_about(line: bytes, shop: str, person: Person) -> bool:
    try:
        said = orjson.loads(line)
    except orjson.JSONDecodeError:  # the end of a file that was never written whole
        return bool(person.pattern.search(line.decode("utf-8", "replace")))
    return said["shop"] == shop and (
        said["row"]["customer_id"] in person.ids or person.unnamed_json(said["row"]["body"]) != said["row"]["body"]
    )
