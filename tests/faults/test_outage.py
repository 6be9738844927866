"""The state server away for twenty seconds under load: answers go on, nothing is lost, all recovers by itself."""

import os
import signal
import time

import pytest

from tests import serving
from tests.faults.record import OUT_OF_REACH, Load, Record, audit
from tests.serving import wait_for

AWAY_SECONDS = 20


@pytest.fixture
def toy(tmp_path):
    toy = serving.open_toy_shop(tmp_path / "home", "toy", connect_ms=200, read_ms=200, write_ms=1_000)
    toy.publish(serving.toy_models(), "r1")
    return toy


def test_a_worker_that_starts_while_the_state_server_is_away_serves_from_its_release(toy, tmp_path):
    service = serving.RunningService(toy, tmp_path / "log", workers=1)
    guardian = service.state_pid("guardian")

    def slate(client):
        return client.post("/v1/recommend", json={"customer_id": "tea-3", "scene": "popular", "k": 10}).json()

    try:
        with service.client() as client:
            assert client.put("/v1/products/bread", json={"title": "rye bread", "stock": 0}).status_code == 200
            assert "bread" not in {item["item_id"] for item in slate(client)["items"]}
        os.kill(guardian, signal.SIGSTOP)  # nobody starts the server again
        os.kill(service.state_pid("server"), signal.SIGKILL)
        (before,) = service.children("service.app")
        os.kill(before, signal.SIGKILL)
        wait_for(lambda: {line["pid"] for line in service.lines() if line["event"] == "release_serves"} - {before})
        with service.client() as client:
            said = slate(client)
            assert OUT_OF_REACH in said["degraded"][0]
            assert said["items"]
            assert client.get("/health/ready").json()["ready"]
            os.kill(guardian, signal.SIGCONT)
            wait_for(lambda: any(line["event"] == "catalogue_read_late" for line in service.lines()))
            back = slate(client)
            assert (back["degraded"], "bread" in {item["item_id"] for item in back["items"]}) == ([], False)
    finally:
        os.kill(guardian, signal.SIGCONT)
        assert service.stop() == 0


def test_a_state_server_away_degrades_answers_refuses_events_and_comes_back(toy, tmp_path, tell):
    service, record = serving.RunningService(toy, tmp_path / "log"), Record()
    guardian, answers = service.state_pid("guardian"), 0

    def asked(client):
        record.asked += 1
        answer = client.post("/v1/recommend", json={"customer_id": "tea-3", "scene": "rebuy", "k": 3})
        assert answer.status_code == 200, answer.text
        record.decided.append(answer.json()["decision_id"])
        return answer.json()

    try:
        with Load(service, record, 2, gives_up=0.0) as load, service.client() as client:
            load.goes_on()
            os.kill(guardian, signal.SIGSTOP)  # nobody starts the server again
            os.kill(service.state_pid("server"), signal.SIGKILL)
            until = time.monotonic() + AWAY_SECONDS
            while time.monotonic() < until:
                said = asked(client)
                assert OUT_OF_REACH in said["degraded"][0]
                assert {item["stage"] for item in said["items"]} == {"popular"}
                event = load.backends[0].event(f"never-{answers}", "x", "tea1")
                refused = client.post("/v1/events", json={"events": [event]})
                assert (refused.status_code, refused.json()["code"]) == (503, "state_unreachable")
                assert int(refused.headers["Retry-After"]) >= 1
                assert client.get("/health/ready").status_code == 200
                answers += 1
                time.sleep(0.2)
            assert answers > 10
            os.kill(guardian, signal.SIGCONT)
            wait_for(lambda: not asked(client)["degraded"])
            wait_for(lambda: not list(toy.settings.spool.glob("*.spool")))
            load.goes_on()
            load.finish()
        assert service.stop() == 0
    finally:
        os.kill(guardian, signal.SIGCONT)
        if service.process.poll() is None:
            service.stop()
    rows = audit(toy, record)
    assert record.sent.keys() == record.stored  # nobody gave up
    tell(f"{record.figures()}; in the lake: {rows}")
