"""The part of an erasure that outlives a request: the same command an operator runs, as a process of its own.

It reaches what a worker may not (MLflow belongs to training), takes minutes in a big shop, and goes on when the worker
ends. The ids of the person go to it through a pipe: an argument could be read by every user of the machine. When it
dies, or could not finish because a release was still in use, the keeper starts the next one (`Resumption`).
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

from features.shop import Shop
from service.control import ControlPlane
from service.settings import PREFIX, ServiceSettings
from service.unfinished import claimed, ids_of, noted, strike

ROOT: Final = Path(__file__).resolve().parent.parent
COMMAND: Final = ("-m", "pond.cli.main", "erase")
TOLD: Final = ("home", "redis_url", "control_url", "spool_dir", "partitions", "state_memory_mb")


RETRY_SECONDS: Final = 60.0


class Resumption:
    """Takes up the erasures of a home that nobody is at: the process that was is dead, or could not finish."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._not_before: dict[bytes, float] = {}  # monotonic seconds, by digest

    def look(self, shop: Shop) -> None:
        """Start an eraser for every such erasure of a shop, each at most once in `RETRY_SECONDS`."""
        for digest in noted(shop):
            now = time.monotonic()
            if now < self._not_before.get(digest, now):
                continue
            self._not_before[digest] = now + RETRY_SECONDS
            with claimed(shop, digest) as claim:
                if claim is not None:
                    self._take_up(shop, digest, claim)

    def _take_up(self, shop: Shop, digest: bytes, claim: int) -> None:
        ids = ids_of(shop, digest)
        control = ControlPlane.open(self._settings)
        try:
            receipt = control.receipts.of(shop.name, [digest])
            if not ids:  # it died between its last two steps, or this instant
                if ids is not None and receipt is not None:
                    control.receipts.finish(receipt, {}, done=True)
                strike(shop, [digest])
                return
        finally:
            control.close()
        known = receipt.id if receipt is not None else ""
        structlog.get_logger("pond.keeper").warning("erasure_taken_up", shop=shop.name, receipt=known)
        start_eraser(self._settings, shop.name, known, ids, claim)


def start_eraser(
    settings: ServiceSettings, shop: str, receipt_id: str, ids: Sequence[str], claim: int | None
) -> None:  # fmt: skip
    """Start `pond erase` for a person whose erasure has begun; what comes of it is in the receipt and in the log.

    `claim` (`unfinished.claimed`) is held by the new process for as long as it lives.
    """
    told = {PREFIX + name.upper(): str(value) for name in TOLD if (value := getattr(settings, name)) is not None}
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(
        [sys.executable, *COMMAND, "--shop", shop, "--customer", "-", "--receipt", receipt_id, "--quiet"],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        env={**os.environ, **told, "PYTHONPATH": path}, text=True, start_new_session=True,
        pass_fds=[] if claim is None else [claim],
    )  # fmt: skip
    threading.Thread(target=_follow, args=(process, receipt_id, json.dumps(list(ids))), daemon=True).start()


def _follow(process: "subprocess.Popen[str]", receipt_id: str, ids: str) -> None:
    log = structlog.get_logger("pond.service")
    _, said = process.communicate(ids)
    if process.returncode:
        log.error("erasure_not_done", receipt=receipt_id, code=process.returncode, error=said[-500:])
    else:
        log.info("erasure_done", receipt=receipt_id)
