"""A state server that hangs or stutters: deadlines, a limit and 503 instead of a pile of waiting requests."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests import serving
from tests.faults.record import OUT_OF_REACH, Load, Record, audit
from tests.serving import wait_for

AT_ONCE = 6
CALLERS = 30
NOW = time.time()


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    place = tmp_path_factory.mktemp("slow")
    toy = serving.open_toy_shop(place / "home", "toy", connect_ms=200, read_ms=200, write_ms=60_000)
    toy.publish(serving.toy_models(), "r1")
    service = serving.RunningService(toy, place / "log", workers=1, requests_at_once=AT_ONCE)
    yield service
    if service.process.poll() is None:
        service.stop()


@pytest.fixture(scope="module")
def record():
    return Record()


@pytest.fixture
def server_now(service):
    """Makes the state server hang and go on."""
    server = service.state_pid("server")
    yield lambda now: os.kill(server, {"hangs": signal.SIGSTOP, "goes on": signal.SIGCONT}[now])
    os.kill(server, signal.SIGCONT)


def event(n):
    return {"event_id": f"slow-{n}", "customer_id": f"c{n}", "kind": "view", "at": NOW, "item_id": "tea1"}


def test_more_callers_than_the_limit_are_refused_at_once_while_the_others_wait(service, server_now, record):
    record.sent.update({f"slow-{n}": event(n) | {"quantity": None} for n in range(CALLERS)})
    server_now("hangs")
    together = threading.Barrier(CALLERS)

    def send(n):
        together.wait()
        return client.post("/v1/events", json={"events": [event(n)]})

    with ThreadPoolExecutor(CALLERS) as pool, service.client() as client:
        sent = [pool.submit(send, n) for n in range(CALLERS)]
        wait_for(lambda: sum(one.done() for one in sent) == CALLERS - AT_ONCE)
        assert client.get("/health/live").status_code == 200  # while as many as the limit wait for the server
        assert client.get("/health/ready").status_code == 200
        server_now("goes on")
        answers = [one.result() for one in sent]
    refused = [answer for answer in answers if answer.status_code == 503]
    assert {answer.json()["code"] for answer in refused} == {"busy"}
    assert min(int(answer.headers["Retry-After"]) for answer in refused) >= 1
    taken = [answer for answer in answers if answer.status_code == 202]
    assert (len(taken), len(refused)) == (AT_ONCE, CALLERS - AT_ONCE)
    for n in range(CALLERS):
        (result,) = service.fresh_post("/v1/events", {"events": [event(n)]})["results"]
        assert result["result"] in ("stored", "duplicate")
        record.stored.add(result["event_id"])
    record.asked += 1
    question = {"customer_id": "tea-3", "scene": "rebuy", "k": 3}
    assert not service.fresh_post("/v1/recommend", question)["degraded"]


def test_a_batch_asks_a_hanging_server_once(service, server_now, record):
    server_now("hangs")
    queries = [{"customer_id": f"tea-{n % 6}", "scene": "rebuy", "k": 3} for n in range(300)]
    results = service.fresh_post("/v1/recommend/batch", {"queries": queries})["results"]
    assert all(OUT_OF_REACH in result["answer"]["degraded"][0] for result in results)
    record.asked += len(results) + 6
    record.decided += [result["answer"]["decision_id"] for result in results]
    server_now("goes on")
    after = service.fresh_post("/v1/recommend/batch", {"queries": queries[:6]})["results"]
    assert all(result["answer"]["degraded"] == [] for result in after)
    wait_for(lambda: not list(service.settings.spool.glob("*.spool")))


def test_a_server_that_stutters_loses_nothing_and_hides_nothing(service, record, tell):
    server, pause = service.state_pid("server"), threading.Event()
    try:
        with Load(service, record, 3) as load:
            for pulse in range(24):
                os.kill(server, signal.SIGSTOP)
                pause.wait((0.05, 0.3, 0.7)[pulse % 3])
                os.kill(server, signal.SIGCONT)
                pause.wait(0.2)
            load.goes_on()
            load.finish()
    finally:
        os.kill(server, signal.SIGCONT)
    assert service.stop() == 0
    assert record.degraded > 0
    rows = audit(service.toy, record)
    tell(f"{record.figures()}; in the lake: {rows}")
