"""`serve`: the state server, the keeper and the workers as one service that heals itself and ends in order.

The parent binds the port once; workers are processes of their own that share it. Each child reads its settings from a
pipe and ends when the pipe breaks, so that no child outlives a parent that was killed.
"""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

import structlog
from prometheus_client.multiprocess import mark_process_dead

from features.errors import ServiceUnreachable, UsageError
from service.guardian import guard_again, in_use, serving_here, start_or_join, stop
from service.observe import MULTIPROC_DIR, configure_logs
from service.settings import ServiceSettings

ROOT: Final = Path(__file__).resolve().parent.parent
# Workers import compiled libraries: seconds on an idle machine, a minute on a busy one.
START_SECONDS: Final = 180.0
STOP_SECONDS: Final = 20.0
QUICK_DEATH_SECONDS: Final = 5.0
LONGEST_WAIT_SECONDS: Final = 5.0
POLL_SECONDS: Final = 0.05
GUARDIAN_POLL_SECONDS: Final = 1.0
BACKLOG: Final = 2048
SERVED_ALREADY: Final = "This home is served already: stop that service, or let this one run beside it on its own port."
BESIDE: Final = (
    "note               another service runs on this home; both answer from the same data, one keeper at a time\n"
    "                     writes the lake, and either may be stopped"
)
# One core a worker: threads inside a worker would only fight each other.
ONE_THREAD: Final = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), "1")


@dataclass(slots=True)
class Child:
    """A process that shall live: its module, and when it began and may begin again (monotonic seconds)."""

    module: str
    process: subprocess.Popen[str] | None = None
    began: float = 0.0
    wait: float = 0.0
    not_before: float = 0.0


class Supervisor:
    """Starts the children, starts them again when they die, and ends them in order."""

    def __init__(self, settings: ServiceSettings, listening: socket.socket, metrics_dir: Path) -> None:
        self._settings, self._listening, self._metrics_dir = settings, listening, metrics_dir
        self._workers = [Child("service.app") for _ in range(settings.workers)]
        self._keeper = Child("service.keep")
        self._stopping = False
        self._guardian_seen = time.monotonic()
        self._log = structlog.get_logger("pond.service")

    def stop(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """Ask for the end; a signal handler."""
        self._stopping = True

    def run(self, announce: Callable[[str], None]) -> None:
        """Serve until stopped."""
        try:
            for child in (*self._workers, self._keeper):
                self._start(child)
            self._await_first_answer()
            if not self._stopping:
                announce(urls(self._listening))
            while not self._stopping:
                self._revive()
                time.sleep(POLL_SECONDS)
        finally:
            # Workers first: what they accepted until then is drained by the keeper's last round.
            self._end(self._workers)
            self._drain_at_last()

    def _drain_at_last(self) -> None:
        """End the keeper; one that was dead, or died of it, is followed by another that only drains."""
        process = self._keeper.process
        self._end([self._keeper])
        if process is not None and process.returncode == 0:
            return
        self._log.warning("keeper_drains_at_last", code=None if process is None else process.returncode)
        self._start(self._keeper, only_drain=True)
        self._await_end([self._keeper])

    def _start(self, child: Child, *, only_drain: bool = False) -> None:
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        env = {**os.environ, **ONE_THREAD, "PYTHONPATH": path, MULTIPROC_DIR: str(self._metrics_dir)}
        child.process = subprocess.Popen(
            [sys.executable, "-m", child.module], stdin=subprocess.PIPE, pass_fds=[self._listening.fileno()], env=env,
            text=True, process_group=0,  # Ctrl-C in a terminal is for the parent alone: it ends the children in order
        )  # fmt: skip
        child.began = time.monotonic()
        told = {
            "settings": self._settings.model_dump(mode="json"), "socket": self._listening.fileno(),
            "only_drain": only_drain,
        }  # fmt: skip
        # A child that died at once leaves a broken pipe; it is started again like any other that died.
        with contextlib.suppress(BrokenPipeError):
            stdin = child.process.stdin
            assert stdin is not None  # noqa: S101 - PIPE was asked for
            stdin.write(json.dumps(told) + "\n")
            stdin.flush()

    def _await_first_answer(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._stopping and not _answers(self._listening):
            if all(child.process is None or child.process.poll() is not None for child in self._workers):
                raise ServiceUnreachable("The workers do not start; the lines above say why.")
            if time.monotonic() > deadline:
                raise ServiceUnreachable("No worker answered within three minutes; see the log.")
            time.sleep(POLL_SECONDS)

    def _revive(self) -> None:
        now = time.monotonic()
        for child in (*self._workers, self._keeper):
            if child.process is not None and child.process.poll() is not None:
                self._log.error(
                    "child_died", module=child.module, child=child.process.pid, code=child.process.returncode
                )
                self._forget(child)
                is_quick = now - child.began < QUICK_DEATH_SECONDS
                child.wait = min(LONGEST_WAIT_SECONDS, max(0.1, child.wait * 2)) if is_quick else 0.0
                child.not_before = now + child.wait
            if child.process is None and now >= child.not_before:
                self._start(child)
        if now - self._guardian_seen >= GUARDIAN_POLL_SECONDS:
            self._guardian_seen = now
            self._revive_guardian()

    def _revive_guardian(self) -> None:
        # The guardian is no child of this process: it outlives services, so only its lock tells that it died.
        try:
            if guard_again(self._settings):
                self._log.error("guardian_died", state=str(self._settings.state_dir))
        except (ServiceUnreachable, OSError) as error:
            self._log.error("guardian_not_started", why=str(error))

    def _end(self, children: list[Child]) -> None:
        living = [child for child in children if child.process is not None]
        for child in living:
            if child.process is not None:
                child.process.terminate()
        self._await_end(living)

    def _await_end(self, children: list[Child]) -> None:
        deadline = time.monotonic() + STOP_SECONDS
        for child in children:
            if child.process is None:
                continue
            try:
                child.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._log.warning("child_killed", module=child.module, child=child.process.pid)
                child.process.kill()
                child.process.wait()
            self._forget(child)

    def _forget(self, child: Child) -> None:
        if child.process is None:
            return
        mark_process_dead(child.process.pid, str(self._metrics_dir))  # type: ignore[no-untyped-call] # no types there
        if child.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                child.process.stdin.close()
        child.process = None


def serve(settings: ServiceSettings, announce: Callable[[str], None] = print, *, stop_state: bool = True) -> None:
    """Serve until SIGTERM or SIGINT: the embedded state server, the keeper and `settings.workers` workers.

    `announce` is given the URLs once a worker answers. With `stop_state` the embedded state server ends with the
    last service on this home, its append-only file synced. Another service on this home is joined, and told of.

    Raises
    ------
    UsageError
        The address cannot be listened on, for example because another service of this home has it.
    ServiceUnreachable
        The state server or the workers do not start.
    """
    settings = settings.model_copy(update={"home": settings.home.resolve()})
    configure_logs(settings.home)
    with serving_here(settings) as has_others:
        try:
            listening = listen(settings.host, settings.port)
        except UsageError as error:
            if has_others:
                raise UsageError(f"{error} {SERVED_ALREADY}") from error
            raise
        _serve_on(
            listening,
            settings,
            lambda text: announce(f"{text}\n  {BESIDE}" if has_others else text),
            stop_state=stop_state,
        )


def _serve_on(
    listening: socket.socket, settings: ServiceSettings, announce: Callable[[str], None], *, stop_state: bool
) -> None:  # fmt: skip
    metrics_dir = Path(tempfile.mkdtemp(prefix="pond-metrics-"))
    supervisor = Supervisor(settings, listening, metrics_dir)
    before = {number: signal.signal(number, supervisor.stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with in_use(settings):
            start_or_join(settings)
            supervisor.run(announce)
    finally:
        listening.close()
        shutil.rmtree(metrics_dir, ignore_errors=True)
        if stop_state:
            stop(settings)
        for number, handler in before.items():
            signal.signal(number, handler)


def listen(host: str, port: int) -> socket.socket:
    """Return the socket that all workers share; port 0 takes a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise UsageError(f"{host}:{port} cannot be listened on ({error.strerror}); choose another --port.") from error
    listening.set_inheritable(True)
    return listening


def urls(listening: socket.socket) -> str:
    """Return what a newcomer needs: where the service and its documentation are."""
    host, port = listening.getsockname()[:2]
    base = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    return f"Pond serves at {base}\n  API documentation  {base}/docs\n  health             {base}/health/ready"


def _answers(listening: socket.socket) -> bool:
    host, port = listening.getsockname()[:2]
    connection = http.client.HTTPConnection({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port, timeout=1)  # noqa: S104 - compared, not bound
    try:
        connection.request("GET", "/health/live")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
