"""Run a command as a user would and take its wall time and peak memory from the operating system."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Run:
    """What a finished command cost and printed."""

    seconds: float
    peak_mb: float
    out: str


def run(command: Sequence[str], log: Path) -> Run:
    """Run to the end; a failure shows the end of its output and stops the benchmark."""
    started = time.perf_counter()
    with log.open("w+", encoding="utf-8") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        file.seek(0)
        text = file.read()
    if process.returncode:
        print(text[-3000:], file=sys.stderr)
        raise SystemExit(f"{' '.join(command[:4])} … ended with {process.returncode}")
    return Run(time.perf_counter() - started, usage.ru_maxrss / 1024, text)


def shared() -> Path:
    """Return where the third-party data and the scorers stand."""
    place = Path(os.environ.get("POND_SHARED", Path(__file__).parents[3] / "shared"))
    if not (place / "eval").is_dir():
        raise SystemExit(f"{place} is not there: set POND_SHARED to the folder with data/ and eval/.")
    return place
