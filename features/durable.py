"""Files that are there whole after a crash or not at all, and a full disk told as one."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from features.errors import StorageFull

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def storage_errors(where: Path) -> Iterator[None]:
    """Turn "the disk is full" (or the quota, or the file size limit) into `StorageFull`."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise StorageFull(
                f"The disk that holds {where} is full; make room and run the same command again: nothing was changed."
            ) from error
        raise


def write_synced(path: Path, data: bytes) -> None:
    """Write a file whole: under a temporary name, synced, then renamed; nothing stays after a failure."""
    temporary = path if path.suffix == ".tmp" else path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def sync_tree(directory: Path) -> None:
    """Make everything below a directory survive a power cut."""
    for path in (*directory.rglob("*"), directory):
        _sync(path)


def sync_directory(path: Path) -> None:
    """Make renames and links in a directory survive a power cut."""
    _sync(path)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
