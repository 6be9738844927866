"""The end of a service under load: what has begun is finished, what was acknowledged is in the lake."""

import os
import signal

import pytest

from service.guardian import is_running
from tests import serving
from tests.faults.record import Load, Record, audit


def ended_by_an_impatient_term(service):
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
        service.process.send_signal(number)


def ended_by_two_times_ctrl_c(service):
    for _ in range(2):  # a terminal sends it to every process of its group
        os.killpg(service.process.pid, signal.SIGINT)


def ended_right_after_keeper_and_state_server_were_killed(service):
    os.kill(service.children("service.keep")[0], signal.SIGKILL)  # its lease is held for a while yet
    service.process.send_signal(signal.SIGTERM)
    os.kill(service.state_pid("server"), signal.SIGKILL)


WAYS = (
    ended_by_an_impatient_term, ended_by_two_times_ctrl_c, ended_right_after_keeper_and_state_server_were_killed,
)  # fmt: skip


@pytest.mark.parametrize("end", WAYS, ids=[way.__name__ for way in WAYS])
def test_an_end_under_load_leaves_everything_acknowledged_in_the_lake(tmp_path, end):
    toy = serving.open_toy_shop(tmp_path / "home", "toy")
    toy.publish(serving.toy_models(), "r1")
    record = Record()
    service = serving.RunningService(toy, tmp_path / "log", workers=1)
    try:
        with Load(service, record, 4, gives_up=1.0) as load:
            load.goes_on()
            end(service)
            assert service.gone() == 0
            load.finish()
    finally:
        if service.process.poll() is None:
            service.stop()
    assert not is_running(toy.settings)
    assert not [line for line in service.lines() if line["event"] in ("child_killed", "unexpected")]
    audit(toy, record)
