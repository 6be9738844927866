"""Mounts: who has a release mapped holds a shared lock on its manifest, so that it is not removed under him."""

import os
import weakref
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
from pathlib import Path


class Mount:
    """A shared lock that ends with this object (or its process)."""

    def __init__(self, descriptor: int) -> None:
        self.close = weakref.finalize(self, os.close, descriptor)

    @classmethod
    def of(cls, manifest: Path) -> "Mount":
        """Hold a release by its manifest."""
        descriptor = os.open(manifest, os.O_RDONLY)
        try:
            flock(descriptor, LOCK_SH)
        except OSError:
            os.close(descriptor)
            raise
        return cls(descriptor)


def is_mounted(manifest: Path) -> bool:
    """Whether somebody, in whatever process, holds a release; a missing one is held by nobody."""
    try:
        descriptor = os.open(manifest, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        flock(descriptor, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
