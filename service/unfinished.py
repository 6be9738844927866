"""Erasures that are not done yet, as files that outlive the process at work, so that another can go on (ADR 10).

`shops/<shop>/erasing/<digest>.json` holds the ids of a person: a receipt has only digests, and by those nobody can be
taken out. It is there before the first tombstone; the ids leave it before the receipt says `done`, and it goes last.
`<digest>.lock` beside it is held by the process that works on it, and freed by the kernel when that one dies.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from features.durable import storage_errors, sync_directory, write_synced
from features.errors import ArtifactCorrupt
from features.shop import Shop

FOLDER: Final = "erasing"
_FORMAT: Final = 1


def folder_of(shop: Shop) -> Path:
    """Return where a shop's notes are; only their owner may enter."""
    return shop.root / FOLDER


def note(shop: Shop, digest: bytes, ids: Sequence[str]) -> None:
    """Write down that a person's erasure is asked for; `digest` is of one of his ids."""
    with storage_errors(shop.root):
        folder = folder_of(shop)
        folder.mkdir(mode=0o700, exist_ok=True)
        _write(folder / f"{digest.hex()}.json", ids)
        sync_directory(shop.root)


def noted(shop: Shop) -> list[bytes]:
    """Return the digests of the erasures that are not done."""
    return sorted(bytes.fromhex(path.stem) for path in folder_of(shop).glob("*.json"))


def ids_of(shop: Shop, digest: bytes) -> list[str] | None:
    """Return whom an erasure is about: nobody when all but its receipt is done, None when it is done.

    Raises
    ------
    ArtifactCorrupt
        The note cannot be read; the customer must ask again.
    """
    path = folder_of(shop) / f"{digest.hex()}.json"
    try:
        said = json.loads(path.read_text("utf-8"))
        if said["format_version"] > _FORMAT:
            raise ArtifactCorrupt(str(path), "was written by a newer Pond")
        return [str(one) for one in said["ids"]]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactCorrupt(str(path), f"cannot be read ({type(error).__name__})") from error


@contextmanager
def claimed(shop: Shop, digest: bytes) -> Iterator[int | None]:
    """Hold an erasure while the block runs, and as long as a child that inherits the descriptor lives.

    None when another holds it. That forbids nothing: an erasure may run twice, but it should not be started again
    while somebody is at it.
    """
    path = folder_of(shop) / f"{digest.hex()}.lock"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    held = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        claim = held if _is_taken(held) else None
        yield claim
        if claim is not None and ids_of(shop, digest) is None:
            path.unlink(missing_ok=True)
    finally:
        os.close(held)


def _is_taken(held: int) -> bool:
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def forget_ids(shop: Shop, ids: Iterable[str]) -> list[bytes]:
    """Take the ids out of every note that is about some of these and nobody else; return whose notes those are."""
    gone, found = set(ids), []
    for digest in noted(shop):
        said = ids_of(shop, digest)
        if said is not None and gone.issuperset(said):
            _write(folder_of(shop) / f"{digest.hex()}.json", ())
            found.append(digest)
    return found


def strike(shop: Shop, digests: Iterable[bytes]) -> None:
    """Remove the notes of erasures that are done."""
    for digest in digests:
        for suffix in ("json", "lock"):
            (folder_of(shop) / f"{digest.hex()}.{suffix}").unlink(missing_ok=True)


def _write(path: Path, ids: Sequence[str]) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.touch(0o600)
    write_synced(path, json.dumps({"format_version": _FORMAT, "ids": list(ids)}).encode())
    sync_directory(path.parent)
