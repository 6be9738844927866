"""The part of an erasure that outlives a request: the same command an operator runs, as a process of its own.

It reaches what a worker may not (MLflow belongs to training), takes minutes in a big shop, and goes on when the worker
ends. The ids of the person go to it through a pipe: an argument could be read by every user of the machine.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

from service.settings import PREFIX, ServiceSettings

ROOT: Final = Path(__file__).resolve().parent.parent
COMMAND: Final = ("-m", "pond.cli.main", "erase")
TOLD: Final = ("home", "redis_url", "control_url", "spool_dir", "partitions", "state_memory_mb")


def start_eraser(settings: ServiceSettings, shop: str, receipt_id: str, ids: Sequence[str]) -> None:
    """Start `pond erase` for a person whose erasure has begun; what comes of it is in the receipt and in the log."""
    told = {PREFIX + name.upper(): str(value) for name in TOLD if (value := getattr(settings, name)) is not None}
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(
        [sys.executable, *COMMAND, "--shop", shop, "--customer", "-", "--receipt", receipt_id, "--quiet"],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        env={**os.environ, **told, "PYTHONPATH": path}, text=True, start_new_session=True,
    )  # fmt: skip
    threading.Thread(target=_follow, args=(process, receipt_id, json.dumps(list(ids))), daemon=True).start()


def _follow(process: "subprocess.Popen[str]", receipt_id: str, ids: str) -> None:
    log = structlog.get_logger("pond.service")
    _, said = process.communicate(ids)
    if process.returncode:
        log.error("erasure_not_done", receipt=receipt_id, code=process.returncode, error=said[-500:])
    else:
        log.info("erasure_done", receipt=receipt_id)
