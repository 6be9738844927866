"""Where releases live: publish, promote, roll back; a reader never sees half of one (DESIGN §3).

releases/
    <release_id>/      complete and immutable
    .writing-…/        being written; swept when it is old
    CURRENT            JSON: {"release_id": …, "previous": [newest first]}; the truth about what serves
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fcntl import LOCK_EX, LOCK_SH, LOCK_UN, flock
from pathlib import Path
from typing import Final, Protocol

from pydantic import BaseModel, ConfigDict

from features.durable import sync_directory, sync_tree, write_synced
from features.errors import ArtifactCorrupt, ReleaseError, UsageError
from features.ids import validated_release_id
from models.mount import is_mounted
from models.release import MANIFEST, Manifest, Release, load_release, read_manifest, verify_files

POINTER: Final = "CURRENT"
REMEMBERED: Final = 20
POLL_SECONDS: Final = 0.05


class ReleaseStore(Protocol):
    """The seam: a directory here, an object store elsewhere."""

    def publish(self, release_id: str, write: Callable[[Path], Manifest]) -> Release:
        """Write, verify and load back a release; it does not serve before it is promoted."""
        ...

    def current_id(self) -> str | None:
        """Return the release that serves, None before the first."""
        ...

    def promote(self, release_id: str) -> None:
        """Let a release serve."""
        ...

    def rollback(self) -> str:
        """Let the release before this one serve again and return its id."""
        ...

    def load(self, release_id: str) -> Release:
        """Load a release."""
        ...

    def list(self) -> list[Manifest]:
        """Return all complete releases, oldest first."""
        ...


class _Pointer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    release_id: str | None = None
    previous: tuple[str, ...] = ()
    digest: str = ""  # of the other two, so that a flipped byte cannot name another release; older ones have none

    @property
    def own_digest(self) -> str:
        """BLAKE2b-128 of what it names."""
        said = json.dumps([self.release_id, *self.previous])
        return hashlib.blake2b(said.encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Inspected:
    """The manifests that can be read, oldest first, and by its name why another release's cannot."""

    manifests: tuple[Manifest, ...]
    damaged: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class DirectoryStore:
    """Releases below one directory of a POSIX file system."""

    root: Path

    def publish(self, release_id: str, write: Callable[[Path], Manifest]) -> Release:
        """Write under a temporary name, make it durable, give it its name, verify every file and load it back."""
        final, writing = self._of(release_id), self.root / f".writing-{release_id}"
        if final.exists():
            raise ReleaseError(f"A release {release_id} exists already; releases are never written twice.")
        with self._writing():
            shutil.rmtree(writing, ignore_errors=True)
            try:
                write(writing)
                sync_tree(writing)
                writing.rename(final)
            except BaseException:
                shutil.rmtree(writing, ignore_errors=True)
                raise
        sync_directory(self.root)
        return load_release(final)

    def current_id(self) -> str | None:
        """Return the release that serves, None before the first."""
        return self._pointer().release_id

    def earlier_ids(self) -> tuple[str, ...]:
        """Return the releases that served before the one that serves and still exist, newest first."""
        return tuple(r for r in self._pointer().previous if self._of(r).is_dir())

    def promote(self, release_id: str) -> None:
        """Flip the pointer to a complete release; one with a damaged file is `ArtifactCorrupt` and does not serve."""
        self._verify(self._existing(release_id))
        with self._locked():
            pointer = self._pointer()
            if pointer.release_id != release_id:
                before = [r for r in (pointer.release_id, *pointer.previous) if r and r != release_id]
                self._flip(_Pointer(release_id=release_id, previous=tuple(before[:REMEMBERED])))

    def rollback(self) -> str:
        """Flip the pointer back to the newest earlier release that still exists.

        One with a damaged file is `ArtifactCorrupt`, and the pointer stays.
        """
        with self._locked():
            earlier = self.earlier_ids()
            if not earlier:
                raise ReleaseError("There is no earlier release to roll back to; train another one.")
            self._verify(self._of(earlier[0]))
            self._flip(_Pointer(release_id=earlier[0], previous=earlier[1:]))
            return earlier[0]

    def load(self, release_id: str) -> Release:
        """Load a release, verified."""
        directory = self._existing(release_id)
        _named_as(directory, read_manifest(directory))
        return load_release(directory)

    def list(self) -> list[Manifest]:
        """Return the manifests of all complete releases, oldest first."""
        found = [read_manifest(p.parent) for p in self.root.glob("[!.]*/manifest.json")]
        return sorted(found, key=_age)

    def inspect(self) -> Inspected:
        """Read what can be read, where `list` would fail for one that is damaged: for those who look, not who act."""
        found: dict[str, Manifest] = {}
        damaged: dict[str, str] = {}
        for directory in sorted(path for path in self.root.glob("[!.]*") if path.is_dir()):
            try:
                found[directory.name] = read_manifest(directory)
                _named_as(directory, found[directory.name])
            except ReleaseError as error:
                found.pop(directory.name, None)
                if directory.is_dir():  # else it has just been removed
                    damaged[directory.name] = _why(directory, error)
        return Inspected(tuple(sorted(found.values(), key=_age)), damaged)

    def supersede(self, release_id: str, revision: str) -> None:
        """Let a revision take a release's place wherever the pointer names it: serving, and to be rolled back to."""
        with self._locked():
            pointer = self._pointer()
            names = [revision if r == release_id else r for r in (pointer.release_id, *pointer.previous)]
            if names != [pointer.release_id, *pointer.previous]:
                before = tuple(dict.fromkeys(r for r in names[1:] if r and r != names[0]))
                self._flip(_Pointer(release_id=names[0], previous=before))

    def remove(self, release_id: str, wait_s: float) -> bool:
        """Delete a release that the pointer does not name, once nobody has it mounted; False after `wait_s` in vain."""
        directory, deadline = self.root / release_id, time.monotonic() + wait_s
        if release_id in (self._pointer().release_id, *self._pointer().previous):
            raise ReleaseError(f"{release_id} serves, or may be rolled back to; it cannot be removed.")
        while is_mounted(directory / MANIFEST):
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        if directory.is_dir():
            removing = self.root / f".removing-{release_id}"
            directory.rename(removing)  # nobody sees half a release
            shutil.rmtree(removing)
            sync_directory(self.root)
        return True

    def sweep_unfinished(self) -> int:
        """Delete what publishing or removing left behind when it was killed; waits for a publication that goes on."""
        with self._writing(LOCK_EX):
            found = [*self.root.glob(".writing-*"), *self.root.glob(".removing-*")]
            for path in found:
                shutil.rmtree(path)
        return len(found)

    @contextmanager
    def _writing(self, how: int = LOCK_SH) -> Iterator[None]:
        """Hold the directory's own lock: shared to write a release, alone to sweep."""
        self.root.mkdir(parents=True, exist_ok=True)
        folder = os.open(self.root, os.O_RDONLY)
        try:
            flock(folder, how)
            yield
        finally:
            os.close(folder)

    def _of(self, release_id: str) -> Path:
        return self.root / validated_release_id(release_id)

    def _existing(self, release_id: str) -> Path:
        if not self._of(release_id).is_dir():
            raise ReleaseError(f"There is no release {release_id}; `pond releases` lists them.")
        return self._of(release_id)

    def _verify(self, directory: Path) -> None:
        manifest = read_manifest(directory)
        _named_as(directory, manifest)
        verify_files(directory, manifest)

    def _pointer(self) -> _Pointer:
        try:
            text = (self.root / POINTER).read_text("utf-8")
            pointer = _Pointer.model_validate_json(text)
            for named in filter(None, (pointer.release_id, *pointer.previous)):
                validated_release_id(named)
        except FileNotFoundError:
            return _Pointer()
        except (ValueError, OSError, UsageError) as error:
            raise ArtifactCorrupt(str(self.root / POINTER), "does not name a release") from error
        if pointer.digest and (pointer.digest != pointer.own_digest or text != pointer.model_dump_json()):
            raise ArtifactCorrupt(str(self.root / POINTER), "is not what was written")
        return pointer

    def _flip(self, pointer: _Pointer) -> None:
        signed = pointer.model_copy(update={"digest": pointer.own_digest})
        write_synced(self.root / POINTER, signed.model_dump_json().encode())
        sync_directory(self.root)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".lock").open("w") as lock:
            flock(lock, LOCK_EX)
            try:
                yield
            finally:
                flock(lock, LOCK_UN)


def _age(manifest: Manifest) -> tuple[int, str]:
    return manifest.created_at, manifest.release_id


def _why(directory: Path, error: ReleaseError) -> str:
    """Say without a path what is wrong with a release."""
    if not (directory / MANIFEST).exists():
        return f"it has no {MANIFEST}"
    return f"its {MANIFEST} {error.why}" if isinstance(error, ArtifactCorrupt) else str(error)


def _named_as(directory: Path, manifest: Manifest) -> None:
    if manifest.release_id != directory.name:
        raise ArtifactCorrupt(str(directory / MANIFEST), f"is the manifest of another release, {manifest.release_id}")
