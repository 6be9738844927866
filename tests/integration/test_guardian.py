import contextlib
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from features.errors import ServiceUnreachable
from service import guardian
from service.guardian_process import is_free
from service.settings import ServiceSettings


@pytest.fixture
def settings(tmp_path):
    settings = ServiceSettings.of({}, home=tmp_path / "a home" / ("deep" * 30))  # too long for a socket's path
    yield settings
    guardian.stop(settings)


@contextlib.contextmanager
def client_of(server):
    client = redis.Redis.from_url(server.url, protocol=2)
    try:
        yield client
    finally:
        client.close()


def pid_of(settings, name):
    return int((settings.state_dir / f"{name}.pid").read_text())


def wait_for(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


def answers(server):
    with client_of(server) as client, contextlib.suppress(redis.RedisError):
        return client.ping()
    return False


def test_it_listens_on_a_private_socket_only_and_keeps_data_over_a_restart(settings):
    server = guardian.start_or_join(settings)
    directory = Path(server.url.removeprefix("unix://")).parent
    assert directory.stat().st_mode & 0o777 == 0o700
    with client_of(server) as client:
        config = client.config_get("*")
        wanted = {
            "port": "0", "appendonly": "yes", "aof-use-rdb-preamble": "no", "appendfsync": "no",
            "maxmemory-policy": "noeviction",
        }  # fmt: skip
        assert {name: config[name] for name in wanted} == wanted
        client.set("kept", "yes")
    guardian.stop(settings)
    assert not guardian.is_running(settings)
    with client_of(guardian.start_or_join(settings)) as client:
        assert client.get("kept") == b"yes"


def test_many_that_start_at_once_share_one_server(settings):
    with ThreadPoolExecutor(6) as pool:  # the locks are of open files: threads contend for them as processes do
        servers = set(pool.map(lambda _: guardian.start_or_join(settings), range(6)))
    assert len(servers) == 1
    with client_of(servers.pop()) as client:
        assert client.info("server")["process_id"] == pid_of(settings, "server")


def test_a_killed_server_comes_back_with_its_data(settings):
    server = guardian.start_or_join(settings)
    with client_of(server) as client:
        client.set("kept", "yes")
        killed = pid_of(settings, "server")
        os.kill(killed, signal.SIGKILL)
    wait_for(lambda: pid_of(settings, "server") != killed and answers(server))
    with client_of(server) as client:
        assert client.get("kept") == b"yes"


def test_a_killed_guardian_is_replaced_and_its_server_adopted(settings):
    server = guardian.start_or_join(settings)
    before = pid_of(settings, "server")
    os.kill(pid_of(settings, "guardian"), signal.SIGKILL)
    wait_for(lambda: is_free(settings.state_dir / "guardian.lock"))
    assert guardian.start_or_join(settings) == server
    assert pid_of(settings, "server") == before
    os.kill(before, signal.SIGKILL)  # the new guardian watches the server it did not start
    wait_for(lambda: pid_of(settings, "server") != before and answers(server))


def test_the_last_of_two_services_on_a_home_stops_the_server(settings):
    with guardian.in_use(settings):
        server = guardian.start_or_join(settings)
        with guardian.in_use(settings):
            assert guardian.start_or_join(settings) == server
        guardian.stop(settings)
        assert answers(server)
    guardian.stop(settings)
    assert not guardian.is_running(settings)


def test_stopping_what_does_not_run_does_nothing(settings):
    guardian.stop(settings)
    assert not guardian.is_running(settings)


def test_a_server_that_cannot_start_is_said_so_with_its_log(settings, monkeypatch):
    (settings.state_dir / "aof").mkdir(parents=True)
    (settings.state_dir / "aof" / "appendonly.aof.manifest").write_text("this is no manifest\n")
    monkeypatch.setattr(guardian, "START_SECONDS", 2.0)
    with pytest.raises(ServiceUnreachable, match=r"valkey\.log"):
        guardian.start_or_join(settings)
    monkeypatch.undo()


def test_a_configured_server_is_used_as_it_is(tmp_path):
    settings = ServiceSettings.of({}, home=tmp_path, redis_url="redis://elsewhere:6379/0")
    assert guardian.start_or_join(settings).url == "redis://elsewhere:6379/0"
    assert list(tmp_path.iterdir()) == []
