"""The clock of the whole machine steps back under load: nothing is refused, hidden, lost or ordered wrongly."""

import os
import signal

from features.lake import Lake
from tests import serving
from tests.faults.record import Backend, Record, audit
from tests.faults.weather import Weather
from tests.serving import wait_for

HOUR = 3_600


def test_a_clock_that_steps_back_hides_and_loses_nothing(tmp_path):
    weather = Weather(tmp_path / "weather")
    toy = serving.open_toy_shop(tmp_path / "home", "toy")
    toy.publish(serving.toy_models(), "r1")
    record = Record()
    service = serving.RunningService(toy, tmp_path / "log", weather.env)
    backends = [Backend(record, lambda: service.url, service.headers, f"b-{n}", gives_up=0.0) for n in range(2)]

    def goes_on():
        stored, decided = len(record.stored), len(record.decided)
        wait_for(lambda: len(record.stored) > stored + 50 and len(record.decided) > decided + 5)

    def drained():
        return Lake(toy.shop.lake_dir).rows("events")

    try:
        for backend in backends:
            backend.start()
        for step in (6 * HOUR, -HOUR):
            weather.clock_runs(step)
            goes_on()  # with every purchase in the next answer (Backend)
            before = drained()
            wait_for(lambda before=before: drained() > before)
        # A keeper killed before a step back: the lease it leaves must not outlast the next one's patience.
        weather.clock_runs(0)
        goes_on()
        os.kill(service.children("service.keep")[0], signal.SIGKILL)
        weather.clock_runs(-12 * HOUR)
        before = drained()
        wait_for(lambda: drained() > before)
        for backend in backends:
            backend.finish()
            backend.join(90)
            assert not backend.is_alive(), "a caller hangs"
        assert service.stop() == 0
    finally:
        if service.process.poll() is None:
            service.stop()
    assert record.degraded == 0
    print(record.figures(), audit(toy, record))
