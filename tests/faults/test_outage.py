"""The state server away for twenty seconds under load: answers go on, nothing is lost, all recovers by itself."""

import os
import signal
import time

import pytest

from tests import serving
from tests.faults.record import OUT_OF_REACH, Backend, Record, audit
from tests.serving import wait_for

AWAY_SECONDS = 20


@pytest.fixture
def toy(tmp_path):
    toy = serving.open_toy_shop(tmp_path / "home", "toy", connect_ms=200, read_ms=200, write_ms=1_000)
    toy.publish(serving.toy_models(), "r1")
    return toy


def test_a_state_server_away_degrades_answers_refuses_events_and_comes_back(toy, tmp_path):
    service, record = serving.RunningService(toy, tmp_path / "log"), Record()
    backends = [Backend(record, lambda: service.url, service.headers, f"b-{n}", gives_up=0.0) for n in range(2)]
    guardian, answers = service.state_pid("guardian"), 0
    try:
        for backend in backends:
            backend.start()
        wait_for(lambda: len(record.decided) > 10)
        os.kill(guardian, signal.SIGSTOP)  # nobody starts the server again
        os.kill(service.state_pid("server"), signal.SIGKILL)
        until = time.monotonic() + AWAY_SECONDS
        with service.client() as client:
            while time.monotonic() < until:
                question = {"customer_id": "tea-3", "scene": "rebuy", "k": 3}
                answer = client.post("/v1/recommend", json=question)
                record.asked += 1
                assert answer.status_code == 200, answer.text
                said = answer.json()
                record.decided.append(said["decision_id"])
                assert OUT_OF_REACH in said["degraded"][0]
                assert {item["stage"] for item in said["items"]} == {"popular"}
                refused = client.post(
                    "/v1/events", json={"events": [backends[0].event(f"never-{answers}", "x", "tea1")]}
                )
                assert (refused.status_code, refused.json()["code"]) == (503, "state_unreachable")
                assert int(refused.headers["Retry-After"]) >= 1
                assert client.get("/health/ready").status_code == 200
                answers += 1
                time.sleep(0.2)
        assert answers > 10
        os.kill(guardian, signal.SIGCONT)

        def is_personal():
            record.asked += 1
            return not service.fresh_post("/v1/recommend", {"customer_id": "tea-3"})["degraded"]

        wait_for(is_personal)
        wait_for(lambda: not list(toy.settings.spool.glob("*.spool")))
        stored = len(record.stored)
        wait_for(lambda: len(record.stored) > stored + 20)
        for backend in backends:
            backend.finish()
            backend.join(90)
            assert not backend.is_alive(), "a caller hangs"
        assert service.stop() == 0
    finally:
        os.kill(guardian, signal.SIGCONT)
        if service.process.poll() is None:
            service.stop()
    rows = audit(toy, record)
    assert record.sent.keys() == record.stored  # nobody gave up
    print(f"{record.figures()}; in the lake: {rows}")
