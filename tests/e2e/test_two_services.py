"""A home that is served already: what a second `pond serve` does, with real processes."""

import os
import subprocess
import sys
import threading
import time

import pytest

from features.lake import Lake
from service import guardian
from tests import serving
from tests.serving import ROOT, RunningService

BESIDE = "another service runs on this home"


@pytest.fixture
def toy(tmp_path):
    toy = serving.open_toy_shop(tmp_path / "home", "toy")
    toy.publish(serving.toy_models(), "r1")
    try:
        yield toy
    finally:
        guardian.stop(toy.settings)


def pond_serve(home, port):
    return subprocess.run(
        [sys.executable, "-m", "pond.cli.main", "serve", "--port", str(port), "--home", str(home)], check=False,
        capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


class Service(RunningService):
    """One that remembers all it said."""

    def start(self):
        super().start()
        self.said = []
        self._reader = threading.Thread(target=lambda: self.said.extend(iter(self.process.stdout.readline, "")))
        self._reader.start()

    def gone(self, seconds=60):
        self.process.wait(seconds)
        self._reader.join()
        return super().gone(seconds)

    def told(self, text):
        return any(text in line for line in self.said)


def bought(service, event_id, item):
    event = {"event_id": event_id, "customer_id": "new-one", "kind": "purchase", "at": time.time(), "item_id": item}
    assert service.fresh_post("/v1/events", {"events": [event]})["results"][0]["result"] == "stored"


def rebuys(service):
    return {one["item_id"] for one in service.fresh_post("/v1/recommend", {"customer_id": "new-one", "scene": "rebuy",
                                                                            "k": 9})["items"]}  # fmt: skip


def test_a_second_service_needs_a_port_of_its_own_says_so_and_takes_over_without_a_pause(toy, tmp_path):
    first = Service(toy, tmp_path / "log-1", workers=1)
    services = [first]
    try:
        port = first.url.rsplit(":", 1)[1]
        refused = pond_serve(toy.settings.home, port)
        assert refused.returncode == 2, refused.stderr
        assert f"127.0.0.1:{port} cannot be listened on" in refused.stderr
        assert "This home is served already" in refused.stderr
        other = pond_serve(tmp_path / "another-home", port)
        assert (other.returncode, "served already" in other.stderr) == (2, False), other.stderr

        second = Service(toy, tmp_path / "log-2", workers=1)
        services.append(second)
        serving.wait_for(lambda: second.told(BESIDE))
        server = second.state_pid("server")
        bought(first, "e1", "tea1")
        bought(second, "e2", "tea2")
        assert rebuys(first) == rebuys(second) == {"tea1", "tea2"}

        assert first.stop() == 0
        assert first.told("/health/ready")
        assert not first.told(BESIDE)
        services.remove(first)
        assert second.state_pid("server") == server
        bought(second, "e3", "tea4")
        assert rebuys(second) == {"tea1", "tea2", "tea4"}
        # Its keeper, which stood by, has the word now: what comes in reaches the lake while it serves.
        serving.wait_for(lambda: events(toy) == ["e1", "e2", "e3"])
        assert guardian.is_running(toy.settings)
        assert second.stop() == 0
        services.remove(second)
        assert not guardian.is_running(toy.settings)
        assert events(toy) == ["e1", "e2", "e3"]
    finally:
        for service in services:
            service.stop()


def events(toy):
    return sorted(Lake(toy.shop.lake_dir).scan("events").collect()["event_id"])
