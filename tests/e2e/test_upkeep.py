"""Stopping, losing, backing up and restoring a shop with real processes, while it is under load."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
import redis

from features.lake import Lake
from features.shop import open_shop
from features.watermarks import watermarks
from service import guardian
from service.journal import NOTHING_YET, all_partitions
from service.live_state import partition_prefix
from tests import serving

ROOT = Path(__file__).resolve().parents[2]


def pond(home, *words, timeout=120):
    return subprocess.run(
        [sys.executable, "-m", "pond.cli.main", *map(str, words), "--home", str(home)], capture_output=True, text=True,
        timeout=timeout, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


class Load:
    """Callers who post events and ask until they are told to stop or refused; what was acknowledged is remembered."""

    def __init__(self, service):
        self.events, self.decisions, self._until = [], [], threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(service, n)) for n in range(2)]
        for thread in self._threads:
            thread.start()

    def _call(self, service, caller):
        number = 0
        with httpx.Client(base_url=service.url, headers=service.headers, timeout=60) as client:
            while not self._until.is_set():
                number += 1
                named = [f"{service.name}-{caller}-{number}-{i}" for i in range(5)]
                events = [
                    {"event_id": name, "customer_id": f"tea-{i}", "kind": "view", "at": time.time(), "item_id": "bread"}
                    for i, name in enumerate(named)
                ]  # fmt: skip
                try:
                    if client.post("/v1/events", json={"events": events}).status_code == 202:
                        self.events += named
                    asked = client.post("/v1/recommend", json={"customer_id": f"tea-{caller}", "k": 3})
                    if asked.status_code == 200:
                        self.decisions.append(asked.json()["decision_id"])
                    time.sleep(0.02)  # the machine has other work too
                except httpx.HTTPError:
                    return  # the service has gone: what it did not answer it did not promise

    def stop(self):
        self._until.set()
        for thread in self._threads:
            thread.join()


class Service:
    """`pond serve` as a process."""

    def __init__(self, toy, name):
        self.name, self.headers = name, toy.headers()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pond.cli.main", "serve", "--port", "0", "--workers", "2",
             "--home", str(toy.settings.home)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "POND_READ_MS": "5000", "POND_CONNECT_MS": "5000"},
        )  # fmt: skip
        self.url = re.search(r"http://\S+", self.process.stdout.readline())[0]

    def child(self, module):
        """The process id of a child that runs a module."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return next(int(pid) for pid in children if module in Path(f"/proc/{pid}/cmdline").read_text())

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(120)
        self.process.stdout.close()
        return code


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


@pytest.fixture
def toy(tmp_path):
    toy = serving.open_toy_shop(tmp_path / "home", "toy")
    toy.publish(serving.toy_models(), "r1")
    try:
        yield toy
    finally:
        guardian.stop(toy.settings)


def assert_all_in_the_lake(toy, load):
    lake = Lake(toy.shop.lake_dir)
    events = Counter(lake.scan("events").collect()["event_id"])
    assert {name: events[name] for name in load.events} == dict.fromkeys(load.events, 1)
    decisions = Counter(lake.scan("decisions").collect()["decision_id"])
    assert {name: decisions[name] for name in load.decisions} == dict.fromkeys(load.decisions, 1)
    assert max(events.values()) == max(decisions.values()) == 1


def assert_nothing_is_left_in_the_journal(toy):
    """Nor is the keeper's lock held: the next one need not wait."""
    marks = watermarks(Lake(toy.shop.lake_dir).commits("events"))
    client = redis.Redis.from_url(guardian.start_or_join(toy.settings).url)
    try:
        assert client.exists("pond:v1:{keeper}:lock") == 0
        for p in all_partitions(16):
            above = marks.get(p, NOTHING_YET).id
            assert client.xrange(partition_prefix("toy", p) + b"journal", f"({above}", "+") == []
    finally:
        client.close()
        guardian.stop(toy.settings)


def test_a_service_stopped_under_load_leaves_nothing_it_accepted_behind(toy):
    service = Service(toy, "a")
    load = Load(service)
    wait_for(lambda: len(load.events) > 200)
    assert service.stop() == 0
    load.stop()
    assert_all_in_the_lake(toy, load)
    assert_nothing_is_left_in_the_journal(toy)
    made = pond(toy.settings.home, "rebuild-live", "--shop", "toy")
    assert (made.returncode, f"{len(load.events)} events" in made.stdout.replace(",", "")) == (0, True), made
    looked = pond(toy.settings.home, "upgrade")
    assert (looked.returncode, "Everything has this Pond's formats." in looked.stdout) == (0, True), looked


def test_a_backup_under_load_holds_what_was_acknowledged_and_a_killed_keeper_leaves_nothing_behind(toy, tmp_path):
    service = Service(toy, "b")
    load = Load(service)
    try:
        wait_for(lambda: len(load.events) > 100)
        before = SimpleNamespace(events=list(load.events), decisions=list(load.decisions))
        made = pond(toy.settings.home, "backup", "--out", tmp_path / "b.tar")
        assert (made.returncode, "verified" in made.stdout) == (0, True), made
        refused = pond(toy.settings.home, "rebuild-live")
        assert (refused.returncode, "A service runs on" in refused.stderr) == (2, True), refused
        os.kill(service.child("service.keep"), signal.SIGKILL)  # its lease holds for seconds still
    finally:
        assert service.stop() == 0
        load.stop()
    assert_all_in_the_lake(toy, load)
    settings = toy.settings.model_copy(update={"home": tmp_path / "new"})
    done = pond(settings.home, "restore", tmp_path / "b.tar")
    assert done.returncode == 0, done
    assert_all_in_the_lake(serving.ToyShop(open_shop(settings.home, "toy"), settings), before)
