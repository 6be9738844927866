"""The disk fills up under load, in every place that Pond writes to: nothing lost, nothing doubled, on it goes with room."""

import os
import signal

import pytest

from tests import serving
from tests.faults.record import Backend, Record, audit
from tests.faults.weather import Weather
from tests.serving import wait_for

TORN = 700  # bytes that still fit: the next write goes in by half


@pytest.fixture
def weather(tmp_path):
    return Weather(tmp_path / "weather")


def test_a_full_disk_refuses_what_it_cannot_keep_and_loses_nothing(tmp_path, weather):
    toy = serving.open_toy_shop(tmp_path / "home", "toy", connect_ms=200, read_ms=200, write_ms=1_000)
    toy.publish(serving.toy_models(), "r1")
    record = Record()
    service = serving.RunningService(toy, tmp_path / "log", weather.env, workers=1)
    backends = [Backend(record, lambda: service.url, service.headers, f"b-{n}", gives_up=0.05) for n in range(3)]

    def said(event):
        return sum(event in line for line in service.log.read_text().splitlines())

    def goes_on():
        stored, decided = len(record.stored), len(record.decided)
        wait_for(lambda: len(record.stored) > stored + 50 and len(record.decided) > decided + 5)

    def asked():
        """Ask once; what is refused must say so."""
        record.asked += 1
        with service.client() as client:
            answer = client.post("/v1/recommend", json={"customer_id": "tea-3", "scene": "rebuy", "k": 3})
        if answer.status_code == 200:
            record.decided.append(answer.json()["decision_id"])
        else:
            assert answer.json()["code"] == "storage_full"
            assert int(answer.headers["Retry-After"]) >= 1
        return answer.status_code

    try:
        for backend in backends:
            backend.start()
        goes_on()

        # The lake: the keeper waits, the service takes and answers on.
        waits = said("The keeper waits")
        weather.disk_has(TORN, toy.shop.lake_dir)
        wait_for(lambda: said("The keeper waits") > waits + 1)
        goes_on()
        weather.disk_has_room()

        # The state server's file: what it cannot write it refuses; decisions go to the spool.
        for room in (TORN, 0):
            refused = said('"code": "storage_full"')
            weather.disk_has(room, toy.settings.state_dir)
            wait_for(lambda refused=refused: said('"code": "storage_full"') > refused)
            decided = len(record.decided)
            wait_for(lambda decided=decided: len(record.decided) > decided + 5)
            weather.disk_has_room()
            goes_on()

        # The spool, while the state server is away: what cannot be logged is not answered.
        guardian = service.state_pid("guardian")
        os.kill(guardian, signal.SIGSTOP)
        os.kill(service.state_pid("server"), signal.SIGKILL)
        wait_for(lambda: asked() == 200)
        weather.disk_has(TORN, toy.settings.spool)
        wait_for(lambda: asked() == 503)
        assert asked() == 503
        weather.disk_has_room()
        wait_for(lambda: asked() == 200)
        os.kill(guardian, signal.SIGCONT)
        wait_for(lambda: not list(toy.settings.spool.glob("*.spool")))
        goes_on()

        for backend in backends:
            backend.finish()
            backend.join(90)
            assert not backend.is_alive(), "a caller hangs"
        assert service.stop() == 0
    finally:
        weather.disk_has_room()
        if service.process.poll() is None:
            os.kill(service.state_pid("guardian"), signal.SIGCONT)
            service.stop()
    print(record.figures(), audit(toy, record))
