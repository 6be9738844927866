"""A state server that hangs or stutters: deadlines, an admission limit and 503 instead of a pile of waiting requests."""

import os
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests import serving
from tests.faults.record import OUT_OF_REACH, Backend, Record, audit
from tests.serving import wait_for

AT_ONCE = 6
CALLERS = 30
NOW = time.time()


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    place = tmp_path_factory.mktemp("slow")
    toy = serving.open_toy_shop(place / "home", "toy", connect_ms=200, read_ms=200, write_ms=1_500)
    toy.publish(serving.toy_models(), "r1")
    service = serving.RunningService(toy, place / "log", workers=1, requests_at_once=AT_ONCE)
    yield service
    if service.process.poll() is None:
        service.stop()


@pytest.fixture(scope="module")
def record():
    return Record()


@pytest.fixture
def hanging(service):
    """Makes the state server hang and go on."""
    server = service.state_pid("server")
    yield lambda hangs: os.kill(server, signal.SIGSTOP if hangs else signal.SIGCONT)
    os.kill(server, signal.SIGCONT)


def event(n):
    return {"event_id": f"slow-{n}", "customer_id": f"c{n}", "kind": "view", "at": NOW, "item_id": "tea1"}


def test_more_callers_than_the_limit_are_refused_at_once_while_the_others_wait(service, hanging, record):
    record.sent.update({f"slow-{n}": event(n) | {"quantity": None} for n in range(CALLERS)})
    hanging(True)
    together = threading.Barrier(CALLERS)

    def send(n):
        together.wait()
        with service.client() as client:
            answer = client.post("/v1/events", json={"events": [event(n)]})
        assert int(answer.headers["Retry-After"]) >= 1
        return answer.status_code, answer.json()["code"]

    with ThreadPoolExecutor(CALLERS) as pool, service.client() as client:
        sent = [pool.submit(send, n) for n in range(CALLERS)]
        assert client.get("/health/live").status_code == 200  # while the first of them wait
        assert client.get("/health/ready").status_code == 200
        told = Counter(one.result() for one in sent)
    # Nobody was let in twice within one deadline: at most as many as the limit waited for the server.
    assert set(told) == {(503, "busy"), (503, "state_unreachable")}
    assert told[503, "state_unreachable"] <= AT_ONCE
    hanging(False)
    for n in range(CALLERS):
        (result,) = service.fresh_post("/v1/events", {"events": [event(n)]})["results"]
        assert result["result"] in ("stored", "duplicate")  # what was refused may have been stored all the same
        record.stored.add(result["event_id"])
    record.asked += 1
    assert not service.fresh_post("/v1/recommend", {"customer_id": "tea-3", "scene": "rebuy", "k": 3})["degraded"]


def test_a_batch_asks_a_hanging_server_once(service, hanging, record):
    hanging(True)
    queries = [{"customer_id": f"tea-{n % 6}", "scene": "rebuy", "k": 3} for n in range(300)]
    results = service.fresh_post("/v1/recommend/batch", {"queries": queries})["results"]
    assert all(OUT_OF_REACH in result["answer"]["degraded"][0] for result in results)
    record.asked += len(results) + 6
    record.decided += [result["answer"]["decision_id"] for result in results]
    hanging(False)
    after = service.fresh_post("/v1/recommend/batch", {"queries": queries[:6]})["results"]
    assert all(result["answer"]["degraded"] == [] for result in after)
    wait_for(lambda: not list(service.settings.spool.glob("*.spool")))


def test_a_server_that_stutters_loses_nothing_and_hides_nothing(service, record):
    backends = [Backend(record, lambda: service.url, service.headers, f"b-{n}") for n in range(3)]
    server, pause = service.state_pid("server"), threading.Event()
    try:
        for backend in backends:
            backend.start()
        for pulse in range(24):
            os.kill(server, signal.SIGSTOP)
            pause.wait((0.05, 0.3, 0.7)[pulse % 3])
            os.kill(server, signal.SIGCONT)
            pause.wait(0.2)
        stored = len(record.stored)
        wait_for(lambda: len(record.stored) > stored + 50)
        for backend in backends:
            backend.finish()
            backend.join(90)
            assert not backend.is_alive(), "a caller hangs"
    finally:
        os.kill(server, signal.SIGCONT)
    assert service.stop() == 0
    assert record.degraded > 0
    print(record.figures(), audit(service.toy, record))
