"""An erasure asked over HTTP whose process is killed on the way: the next service sees it to its end by itself."""

import os
import signal
from pathlib import Path

import pytest

from features.lake import Lake
from service.unfinished import folder_of
from tests import serving
from tests.serving import wait_for
from tests.traces import traces_of

WHO = "leaves-me-顾客/0001"
FRIEND = "tea-1"


@pytest.fixture
def toy(tmp_path):
    toy = serving.open_toy_shop(tmp_path / "home", "toy")
    toy.publish(serving.toy_models(), "r1")
    return toy


def erasers(toy):
    """The processes that erase in this home, whoever started them."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            is_eraser = b"\0erase\0" in (process / "cmdline").read_bytes()
            if is_eraser and str(toy.settings.home).encode() in (process / "environ").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return found


def at_its_birth(_toy):
    return True


def when_the_lake_is_rewritten(toy):
    return any(one.source == "erasure" for one in Lake(toy.shop.lake_dir).commits("decisions"))


@pytest.mark.parametrize("moment", [at_its_birth, when_the_lake_is_rewritten])
def test_an_erasure_that_was_killed_is_taken_up_by_the_next_service(toy, tmp_path, moment):
    service = serving.RunningService(toy, tmp_path / "log", workers=1)
    path = f"/v1/customers/{WHO.replace('/', '%2F')}"
    try:
        with service.client() as client:
            bought = [
                {"event_id": f"e-{n}", "customer_id": who, "kind": "purchase", "at": 1_790_000_000, "item_id": "tea1"}
                for n, who in enumerate((WHO, FRIEND))
            ]  # fmt: skip
            assert client.post("/v1/events", json={"events": bought}).status_code == 202
            assert client.put(f"/v1/customers/{FRIEND}", json={"inviter_id": WHO}).status_code == 200
            assert client.post("/v1/recommend", json={"customer_id": WHO, "k": 3}).status_code == 200
            wait_for(lambda: Lake(toy.shop.lake_dir).rows("events") == len(bought))
            asked = client.delete(f"{path}/data")
            assert (asked.status_code, asked.json()["state"]) == (202, "begun")
            (eraser,) = wait_for(lambda: erasers(toy))
            wait_for(lambda: moment(toy))
            os.kill(eraser, signal.SIGKILL)
            service.kill()  # and workers and keeper with it
        wait_for(lambda: not erasers(toy))
        assert traces_of(WHO, folder_of(toy.shop))  # whoever goes on must know whom it is about
        service.start()
        with service.client() as client:
            told = f"/v1/erasures/{asked.json()['receipt']}"
            wait_for(lambda: client.get(told).json()["state"] == "done")
            wait_for(lambda: not erasers(toy))
            assert client.delete(f"{path}/data").json()["state"] == "done"
    finally:
        assert service.stop() == 0
    assert traces_of(WHO, toy.settings.home) == []
    assert list(folder_of(toy.shop).iterdir()) == []
    assert Lake(toy.shop.lake_dir).scan("events").collect()["event_id"].to_list() == ["e-1"]
