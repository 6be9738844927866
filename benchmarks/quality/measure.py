"""Run a command as a user would and take its wall time and the peak memory of all its processes."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LOOKS_EVERY_S = 0.25


@dataclass(frozen=True)
class Run:
    """What a finished command cost and printed."""

    seconds: float
    peak_mb: float
    out: str


def run(command: Sequence[str], log: Path, environ: Mapping[str, str] | None = None) -> Run:
    """Run to the end; a failure shows the end of its output and is a `SystemExit`.

    Memory is the proportional share (PSS) of the command and all the processes it starts, added up four times a second,
    because the kernel's own peak of a child (`ru_maxrss`) starts at what this process once held. Only a command too
    short to be looked at gets the kernel's figure.
    """
    started = time.perf_counter()
    with log.open("w+", encoding="utf-8") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
            env=dict(os.environ) | dict(environ or {}),
        )  # fmt: skip
        watch = _Watch(process.pid)
        watch.start()
        _, status, usage = os.wait4(process.pid, 0)
        watch.stop()
        process.returncode = os.waitstatus_to_exitcode(status)
        file.seek(0)
        text = file.read()
    if process.returncode:
        print(text[-3000:], file=sys.stderr)
        raise SystemExit(f"{' '.join(command[:4])} … ended with {process.returncode}")
    return Run(time.perf_counter() - started, watch.peak_mb or usage.ru_maxrss / 1024, text)


class _Watch(threading.Thread):
    """Adds up the memory of a session's processes until told to stop."""

    def __init__(self, session: int) -> None:
        super().__init__(daemon=True)
        self.session, self.peak_mb, self._done = session, 0.0, threading.Event()

    def run(self) -> None:
        """Look again and again; a process that ends meanwhile counts nothing."""
        while not self._done.wait(LOOKS_EVERY_S):
            self.peak_mb = max(self.peak_mb, sum(_pss_mb(pid) for pid in _processes(self.session)))

    def stop(self) -> None:
        """End the watch."""
        self._done.set()
        self.join()


def _processes(session: int) -> list[str]:
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            # Fields after the name, which may hold spaces: state, parent, group, session.
            fields = (place / "stat").read_text("utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        if fields[3] == str(session):
            found.append(place.name)
    return found


def _pss_mb(pid: str) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text("utf-8").splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:"))


def shared() -> Path:
    """Return where the third-party data and the scorers stand."""
    place = Path(os.environ.get("POND_SHARED", Path(__file__).parents[3] / "shared"))
    if not (place / "eval").is_dir():
        raise SystemExit(f"{place} is not there: set POND_SHARED to the folder with data/ and eval/.")
    return place
