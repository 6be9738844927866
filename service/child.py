"""What every child of the supervisor does first: read its settings from the pipe, and end when the pipe breaks."""

import json
import os
import signal
import sys
import threading
from typing import Any


def told_by_parent() -> dict[str, Any]:
    """Read the one line of JSON the parent writes: no secret stands in a command line or an environment."""
    told: dict[str, Any] = json.loads(sys.stdin.readline())
    return told


def end_with_parent() -> None:
    """Send this process SIGTERM when the parent is gone, however it went."""

    def wait() -> None:
        os.read(sys.stdin.fileno(), 1)  # nothing is ever written after the first line: it returns at the pipe's end
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent-watch", daemon=True).start()
