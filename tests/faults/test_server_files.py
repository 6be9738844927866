"""The state server killed while its disk is slow: what it answered it had written, also while a sync is running."""

import os
import signal
import threading
import time

import redis

from service import guardian
from service.settings import ServiceSettings
from tests.faults.weather import Weather
from tests.serving import state_pid, wait_for


def test_a_kill_during_a_slow_sync_loses_nothing_that_was_answered(tmp_path, monkeypatch):
    weather = Weather(tmp_path / "weather")
    for name, value in weather.env.items():
        monkeypatch.setenv(name, value)
    settings = ServiceSettings.of({}, home=tmp_path / "home")
    weather.syncs_take(0.5, settings.state_dir)
    answered = [[] for _ in range(4)]
    stop = threading.Event()

    def write(number, url):
        with redis.Redis.from_url(url, protocol=2) as client:
            while not stop.is_set():
                entry = f"{number}-{len(answered[number])}"
                try:
                    client.xadd("journal", {"j": entry})
                except redis.RedisError:
                    return
                answered[number].append(entry)
                time.sleep(0.001)

    try:
        for kill in range(1, 6):
            server = guardian.start_or_join(settings)
            writers = [threading.Thread(target=write, args=(n, server.url)) for n in range(4)]
            for writer in writers:
                writer.start()
            before = sum(map(len, answered))
            wait_for(lambda before=before: sum(map(len, answered)) > before + 1_000)
            killed = state_pid(settings, "server")
            os.kill(killed, signal.SIGKILL)
            for writer in writers:
                writer.join()
            wait_for(lambda killed=killed: state_pid(settings, "server") != killed)
            url = guardian.start_or_join(settings).url
            with redis.Redis.from_url(url, protocol=2) as client:
                kept = [fields[b"j"].decode() for _, fields in client.xrange("journal")]
            lost = {entry for entries in answered for entry in entries} - set(kept)
            assert (len(lost), len(kept)) == (0, len(set(kept))), f"kill {kill}"
    finally:
        stop.set()
        guardian.stop(settings)
