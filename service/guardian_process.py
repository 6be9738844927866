"""The guardian: a process of its own session that keeps the embedded Valkey alive, whatever happens to its parent.

Who lives is told by locks the kernel releases at death, never by process ids alone:

    state/start.lock      held by a command while it brings the server up: many may start at once
    state/guardian.lock   held by the one guardian
    state/server.lock     inherited by the server itself, so a second server can never open the same append-only file

A guardian that comes after a crashed one finds `server.lock` taken and adopts that server by waiting on the lock; when
the lock falls free, the server is dead and the next one starts from the append-only file.

The server writes every change to its append-only file before it answers (`appendfsync no`), so what was answered
survives the death of the server; the guardian syncs that file every second, so that little is lost with the machine.
The server's own `everysec` holds writes back while a sync is running, answers all the same and loses them when it is
killed (docs/adr/0013-written-before-answered.md).

Only the standard library is imported here: the process starts in a moment and stays small.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

POLL_SECONDS: Final = 0.02
SYNC_SECONDS: Final = 1.0
_STOPPING: Final = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True)
class Server:
    """What to run: the binary, on a socket, with its files in `state` and at most so much memory (0: no limit)."""

    state: Path
    socket: Path
    binary: Path
    memory_mb: int

    def spawn(self, lock: int) -> "subprocess.Popen[bytes]":
        """Start it, holding `lock` for as long as it lives."""
        (self.state / "socket").write_text(str(self.socket), "utf-8")
        server = subprocess.Popen(
            [
                str(self.binary),
                "--port", "0", "--unixsocket", str(self.socket), "--unixsocketperm", "700", "--daemonize", "no",
                "--dir", str(self.state), "--appenddirname", "aof", "--appendonly", "yes", "--appendfsync", "no",
                "--aof-use-rdb-preamble", "no", "--save", "", "--maxmemory", f"{self.memory_mb}mb",
                "--maxmemory-policy", "noeviction", "--logfile", str(self.state / "valkey.log"), "--loglevel", "notice",
            ],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, cwd=self.state,
            start_new_session=True, pass_fds=[lock],
        )  # fmt: skip
        (self.state / "server.pid").write_text(str(server.pid), "ascii")
        return server


class _Stop(Exception):
    """SIGTERM or SIGINT arrived."""


class _Signals:
    """Raises `_Stop` on SIGTERM and SIGINT, later when it comes while a server is being born.

    (A blocked signal mask would be inherited by the server, which could then not be stopped.)
    """

    def __init__(self) -> None:
        self._birth = self._came = False
        for number in _STOPPING:
            signal.signal(number, self._arrived)

    def _arrived(self, _signal: int, _frame: FrameType | None) -> None:
        self._came = True
        if not self._birth:
            raise _Stop

    @contextlib.contextmanager
    def birth(self) -> Iterator[None]:
        """Hold a stop back until the block is done."""
        self._birth = True
        yield
        self._birth = False
        if self._came:
            raise _Stop


def guard(server: Server) -> None:
    """Keep a server alive until SIGTERM, in a process of its own; the caller's process ends here.

    The lock is taken before the process leaves its parent, so that the parent's end means: guarded.
    """
    held = os.open(server.state / "guardian.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    if os.fork():
        os._exit(0)
    os.setsid()
    signals = _Signals()
    (server.state / "guardian.pid").write_text(str(os.getpid()), "ascii")
    threading.Thread(target=_sync_for_ever, args=(server.state / "aof",), name="sync", daemon=True).start()
    child: subprocess.Popen[bytes] | None = None
    pause, born = POLL_SECONDS, 0.0
    try:
        while True:
            with locked(server.state / "server.lock") as lock:  # waits while a server, ours or an adopted one, lives
                if child is not None:
                    child.wait()
                # A server that dies at once (a damaged file, a full disk) is tried again ever more slowly.
                pause = min(pause * 2, 5.0) if time.monotonic() - born < 1.0 else POLL_SECONDS
                if born:
                    time.sleep(pause)
                with signals.birth():  # never a server whose id nobody wrote down
                    child, born = server.spawn(lock), time.monotonic()
    except _Stop:
        for number in _STOPPING:
            signal.signal(number, signal.SIG_IGN)
        if not is_free(server.state / "server.lock"):
            terminate(server.state / "server.pid")
        with locked(server.state / "server.lock"):
            if child is not None:
                child.wait()


def _sync_for_ever(directory: Path) -> None:
    """Sync what the server appends every second; the file changes its name when the server rewrites it."""
    while True:
        time.sleep(SYNC_SECONDS)
        for path in directory.glob("*.incr.aof"):
            try:
                file = os.open(path, os.O_RDONLY)
            except FileNotFoundError:  # rewritten meanwhile: the server has synced what took its place
                continue
            try:
                os.fdatasync(file)
            except OSError as error:
                print(f"{path} could not be synced: {error}", file=sys.stderr, flush=True)  # noqa: T201 - its log
            finally:
                os.close(file)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[int]:
    """Hold a lock file; gives its descriptor, which a child may inherit together with the lock."""
    held = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield held
    finally:
        os.close(held)


def is_free(path: Path) -> bool:
    """Whether nobody holds a lock file."""
    held = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(held)
    return True


def terminate(pid_file: Path) -> None:
    """Send SIGTERM to the process whose id a file holds, if it lives."""
    with contextlib.suppress(FileNotFoundError, ValueError, ProcessLookupError):
        os.kill(int(pid_file.read_text("ascii")), signal.SIGTERM)


if __name__ == "__main__":
    guard(Server(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])))
