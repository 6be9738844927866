"""A full disk, and a clock that steps back, under load: refused is what cannot be kept, nothing is lost or hidden.

One service lives through all of it, story by story; its last story is the audit.
"""

import os
import signal

import pytest

from features.lake import Lake
from tests import serving
from tests.faults.record import Load, Record, audit
from tests.faults.weather import Weather
from tests.serving import wait_for

TORN = 700  # bytes that still fit: the next write goes in by half
HOUR = 3_600


@pytest.fixture(scope="module")
def weather(tmp_path_factory):
    return Weather(tmp_path_factory.mktemp("weather"))


@pytest.fixture(scope="module")
def record():
    return Record()


@pytest.fixture(scope="module")
def service(tmp_path_factory, weather):
    place = tmp_path_factory.mktemp("shop")
    toy = serving.open_toy_shop(place / "home", "toy")
    toy.publish(serving.toy_models(), "r1")
    service = serving.RunningService(toy, place / "log", weather.env, workers=1)
    yield service
    weather.disk_has_room()
    if service.process.poll() is None:
        os.kill(service.state_pid("guardian"), signal.SIGCONT)
        service.stop()


@pytest.fixture(scope="module")
def load(service, record):
    with Load(service, record, 3, gives_up=0.05) as load:
        load.goes_on()
        yield load


def said(service, text):
    return sum(text in line for line in service.log.read_text().splitlines())


def drained(service):
    return Lake(service.toy.shop.lake_dir).rows("events")


def asked(service, record):
    """Ask once; a refusal must say why and when to ask again."""
    record.asked += 1
    with service.client() as client:
        answer = client.post("/v1/recommend", json={"customer_id": "tea-3", "scene": "rebuy", "k": 3})
    if answer.status_code == 200:
        record.decided.append(answer.json()["decision_id"])
    else:
        assert answer.json()["code"] == "storage_full"
        assert int(answer.headers["Retry-After"]) >= 1
    return answer.status_code


def test_while_the_lake_is_full_the_service_goes_on_and_the_keeper_waits(service, weather, load):
    waits = said(service, "The keeper waits")
    weather.disk_has(TORN, service.toy.shop.lake_dir)
    wait_for(lambda: said(service, "The keeper waits") > waits + 1)
    load.goes_on()
    weather.disk_has_room()
    before = drained(service)
    wait_for(lambda: drained(service) > before)


@pytest.mark.parametrize("room", [TORN, 0])
def test_while_the_state_server_cannot_write_it_refuses_and_decisions_are_spooled(service, weather, load, room):
    refused = said(service, '"code": "storage_full"')
    weather.disk_has(room, service.settings.state_dir)
    wait_for(lambda: said(service, '"code": "storage_full"') > refused)
    load.answers_go_on()
    weather.disk_has_room()
    load.goes_on()


def test_what_neither_state_server_nor_spool_can_keep_is_not_answered(service, weather, load, record):
    guardian = service.state_pid("guardian")
    os.kill(guardian, signal.SIGSTOP)  # nobody starts the server again
    os.kill(service.state_pid("server"), signal.SIGKILL)
    wait_for(lambda: asked(service, record) == 200)
    weather.disk_has(TORN, service.settings.spool)
    wait_for(lambda: asked(service, record) == 503)
    assert asked(service, record) == 503
    weather.disk_has_room()
    assert asked(service, record) == 200
    os.kill(guardian, signal.SIGCONT)
    wait_for(lambda: not list(service.settings.spool.glob("*.spool")))
    load.goes_on()


@pytest.mark.parametrize("ahead_s", [6 * HOUR, -HOUR])
def test_a_step_of_the_clock_hides_and_refuses_nothing(service, weather, load, ahead_s):
    weather.clock_runs(ahead_s)
    load.goes_on()  # with every purchase in the next answer (Backend)
    before = drained(service)
    wait_for(lambda: drained(service) > before)


def test_a_lease_that_a_step_back_prolonged_does_not_stop_the_next_keeper(service, weather, load):
    os.kill(service.children("service.keep")[0], signal.SIGKILL)
    weather.clock_runs(-12 * HOUR)
    before = drained(service)
    wait_for(lambda: drained(service) > before)


def test_after_all_weather_lake_and_journal_hold_what_was_acknowledged(service, load, record, tell):
    load.finish()
    assert service.stop() == 0
    rows = audit(service.toy, record)
    tell(f"{record.figures()}; in the lake: {rows}")
