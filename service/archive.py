"""A backup on disk: files below `home/`, and `manifest.json` with a digest of every one of them and of itself.

It is a directory, or the same directory as a `.tar`. It is written under a temporary name and has its own only when
every file has been read back and compared; whoever restores compares again before anything is visible.
"""

import hashlib
import json
import os
import shutil
import tarfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from features.durable import storage_errors, sync_directory, write_synced
from features.errors import ArtifactCorrupt, ReleaseError, UsageError

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
CONTENT: Final = "home"
CHUNK: Final = 1 << 20
PACKED: Final = ".tar"
LIKE_ARCHIVES: Final = frozenset({PACKED, ".7z", ".bz2", ".gz", ".lz", ".lz4", ".rar", ".tbz", ".tgz", ".txz", ".xz",
                                  ".z", ".zip", ".zst"})  # fmt: skip
NO_BACKUP: Final = "{} holds no Pond backup; give what `pond backup` wrote."
ADVICE: Final = "this backup is damaged, use another one"


@dataclass
class Writing:
    """A backup being written below `root`; `files` grows with every file: path below `root` → BLAKE2b-128."""

    root: Path
    files: dict[str, str] = field(default_factory=dict)
    size: int = 0

    def path(self, relative: str) -> Path:
        """Return where a file of the home goes, its directory made."""
        path = self.root / CONTENT / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def copy(self, source: Path, relative: str, digest: str = "") -> None:
        """Copy a file; with `digest` it must be the one that was written once, else `ArtifactCorrupt`."""
        with source.open("rb") as file:
            found = self._keep(file, relative)
        if digest and found != digest:
            raise ArtifactCorrupt(str(source), "is not what was written")

    def note(self, relative: str) -> None:
        """Take in a file that somebody else wrote at `path(relative)`."""
        path = self.path(relative)
        self.files[f"{CONTENT}/{relative}"] = digest_of(path)
        self.size += path.stat().st_size

    def _keep(self, file: Any, relative: str) -> str:
        state, path = hashlib.blake2b(digest_size=16), self.path(relative)
        with path.open("wb") as copy:
            while chunk := file.read(CHUNK):
                state.update(chunk)
                copy.write(chunk)
                self.size += len(chunk)
            copy.flush()
            os.fsync(copy.fileno())
        self.files[f"{CONTENT}/{relative}"] = state.hexdigest()
        return state.hexdigest()


def digest_of(path: Path) -> str:
    """BLAKE2b-128 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


@contextmanager
def written(out: Path) -> Iterator[tuple[Writing, Callable[[dict[str, Any]], None]]]:
    """Write a backup to `out`, a directory or a `.tar`; it is there when the block has called `finish` and ended.

    Raises
    ------
    UsageError
        There is something at `out` already, no directory to put it into, or its name promises another format.
    StorageFull
        Nothing stays of what was written.
    """
    is_packed = out.suffix == PACKED
    if not is_packed and out.suffix.lower() in LIKE_ARCHIVES:
        raise UsageError(f"{out.name}: a backup is a directory, or one file whose name ends in .tar; name it so.")
    if out.exists() and (is_packed or not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is there already; choose a new name for the backup.")
    if not out.parent.is_dir():
        raise UsageError(f"There is no directory {out.parent}; create it first.")
    root = out.parent / f".{out.name}.writing-{uuid.uuid4().hex[:8]}"
    packed = root.with_name(root.name + ".tar")
    said: dict[str, Any] = {}
    try:
        with storage_errors(out.parent):
            root.mkdir()
            writing = Writing(root)
            yield writing, said.update
            body = {"format": FORMAT, **said, "files": writing.files}
            text = json.dumps({"digest": _digest(body), "backup": body}, ensure_ascii=False, indent=1)
            write_synced(root / MANIFEST, text.encode())
            if is_packed:
                _pack(root, packed)
                shutil.rmtree(root)
                _unpack(packed, root)
            verified(root)
            (packed if is_packed else root).rename(out)
            sync_directory(out.parent)
    finally:
        packed.unlink(missing_ok=True)
        shutil.rmtree(root, ignore_errors=True)


@contextmanager
def opened(archive: Path, beside: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Give a verified copy of a backup's home, in a directory next to `beside`, and what the manifest says.

    The copy is removed when the block ends; what the block has renamed is its own.

    Raises
    ------
    UsageError
        There is nothing at `archive`, or something else than a backup.
    ArtifactCorrupt
        A file is missing, changed or too much; the sentence names it.
    """
    if not archive.exists():
        raise UsageError(f"There is no backup at {archive}.")
    if not (_is_backup(archive) if archive.is_dir() else tarfile.is_tarfile(archive)):
        raise UsageError(NO_BACKUP.format(archive))
    beside.parent.mkdir(parents=True, exist_ok=True)
    root = beside.parent / f".{beside.name}.restoring-{uuid.uuid4().hex[:8]}"
    try:
        with storage_errors(beside.parent):
            if archive.is_dir():
                shutil.copytree(archive, root, symlinks=True)
            else:
                _unpack(archive, root)
                if not _is_backup(root):
                    raise UsageError(NO_BACKUP.format(archive))
            yield root / CONTENT, verified(root)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _is_backup(root: Path) -> bool:
    """Whether a directory is a backup, if perhaps a damaged one, rather than something else."""
    if (root / CONTENT).is_dir():
        return True
    try:
        return "backup" in json.loads((root / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def verified(root: Path) -> dict[str, Any]:
    """Compare every file with the manifest and return what it says."""
    path = root / MANIFEST
    try:
        stated = json.loads(path.read_text("utf-8"))
        body: dict[str, Any] = stated["backup"]
        if stated["digest"] != _digest(body):
            raise _damaged(MANIFEST, "is not what was written")
        version, files = body["format"], dict(body["files"])
    except FileNotFoundError as error:
        raise _damaged(MANIFEST, "is missing") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(MANIFEST, f"cannot be read ({type(error).__name__})") from error
    if version > FORMAT:
        raise ReleaseError(f"This backup has format {version}, newer than {FORMAT}; upgrade Pond to restore it.")
    there = {str(p.relative_to(root)) for p in root.rglob("*") if p.is_symlink() or not p.is_dir()} - {MANIFEST}
    for name in sorted(there ^ set(files)):
        raise _damaged(name, "is missing" if name in files else "does not belong here")
    for name, digest in files.items():
        if (root / name).is_symlink() or digest_of(root / name) != digest:
            raise _damaged(name, "is not what was written")
    return body


def _damaged(name: str, why: str) -> ArtifactCorrupt:
    return ArtifactCorrupt(name, why, ADVICE)


def _pack(root: Path, packed: Path) -> None:
    with packed.open("wb") as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for path in sorted(p for p in root.rglob("*") if p.is_file()):
                tar.add(path, str(path.relative_to(root)), recursive=False)
        file.flush()
        os.fsync(file.fileno())


def _unpack(packed: Path, root: Path) -> None:
    """Extract regular files only; nothing leaves `root`."""
    root.mkdir()
    try:
        with tarfile.open(packed, "r:") as tar:
            for member in tar:
                if not member.isfile():
                    raise _damaged(member.name, "is no plain file")
                tar.extract(member, root, filter="data")
    except (tarfile.TarError, EOFError, UnicodeDecodeError) as error:
        raise _damaged(str(packed), f"cannot be read ({error})") from error


def _digest(body: Any) -> str:
    canonical = json.dumps(body, sort_keys=True, ensure_ascii=False).encode()
    return hashlib.blake2b(canonical, digest_size=16).hexdigest()
