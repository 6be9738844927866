"""kill -9 of every part at random moments under load: what was acknowledged is kept once, what was not at most once."""

import contextlib
import logging
import os
import random
import secrets
import signal
import time
from collections import Counter

from tests import serving
from tests.faults.record import Load, Record, audit

_log = logging.getLogger("pond.faults")

# How often each part is killed in a campaign. A killed supervisor takes workers and keeper along, and is started again.
VICTIMS = {"server": 22, "worker": 12, "keeper": 8, "guardian": 8, "supervisor": 2}
SEED = "POND_FAULTS_SEED"


def pids(service, victim):
    """The processes that may be killed as this victim, one of them at random; none while it is being born."""
    if victim in ("server", "guardian"):
        return [service.state_pid(victim)]
    return service.children({"worker": "service.app", "keeper": "service.keep"}[victim])


def kill(service, victim, rng):
    """Kill one living process of this kind; wait for one to live."""
    if victim == "supervisor":
        service.kill()
        service.start()
        return
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = pids(service, victim)
        with contextlib.suppress(ProcessLookupError):
            if found:
                os.kill(rng.choice(found), signal.SIGKILL)
                return
        time.sleep(0.02)
    raise AssertionError(f"there is no {victim} to kill")


def test_nothing_acknowledged_is_lost_or_doubled_by_any_number_of_kills(tmp_path, tell):
    seed = int(os.environ.get(SEED) or secrets.randbits(32))
    _log.warning("%s=%d", SEED, seed)  # pytest shows it when the test fails
    rng = random.Random(seed)
    schedule = rng.sample(list(VICTIMS), counts=list(VICTIMS.values()), k=sum(VICTIMS.values()))
    toy = serving.open_toy_shop(tmp_path / "home", "toy", connect_ms=200, read_ms=200, write_ms=1_000)
    toy.publish(serving.toy_models(), "r1")
    record, killed = Record(), Counter()
    service = serving.RunningService(toy, tmp_path / "log")
    try:
        with Load(service, record, 3, seed) as load:
            for victim in schedule:
                time.sleep(rng.uniform(0.0, 0.6))
                kill(service, victim, rng)
                killed[victim] += 1
            load.finish()
        assert service.stop() == 0
    finally:
        if service.process.poll() is None:
            service.stop()
    rows = audit(toy, record)
    assert killed.total() >= 50
    assert len(record.stored) > 500
    tell(f"killed {dict(killed)}; {record.figures()}; in the lake: {rows}")
